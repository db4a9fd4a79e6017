//! What a server says about itself.

use anyhow::Result;

use crate::remote_text::excerpt;
use crate::space::Disk;
use crate::ssh::exchange::Kind;
use crate::ssh::folder::TransferFolder;
use crate::ssh::session::Ssh;
use crate::version::SystemInformation;

/// The folder whose disk nodes are installed on.
pub const IMAGES: &str = "/var/lib/libvirt/images";

/// Prints a line for each place that a node takes space in: `disk NAME DEVICE FREE`, in kB, without what cannot be
/// found out. Then CML is asked, on the server itself, where its name and certificate do not matter.
const ABOUT: &str = r#"
disk() {
	echo "disk $1 $(stat -L -c %d "$2" 2>/dev/null) $(df -Pk "$2" 2>/dev/null | awk 'NR == 2 && $2 > 0 { print $4 }')"
}
disk images /var/lib/libvirt/images
# Its folder may not exist yet.
transfer=$1
while [ ! -d "$transfer" ] && [ "$transfer" != / ] && [ "$transfer" != . ]; do transfer=$(dirname "$transfer"); done
disk transfer "$transfer"
root=$(sed -n 's/.*"data-root"[ ]*:[ ]*"\([^"]*\)".*/\1/p' /etc/docker/daemon.json 2>/dev/null | tail -n 1)
disk docker "${root:-/var/lib/docker}"
python3 - 2>/dev/null <<'END' || curl -sk --max-time 5 https://localhost/api/v0/system_information 2>/dev/null || :
import ssl, urllib.request
context = ssl._create_unverified_context()
url = "https://localhost/api/v0/system_information"
print(urllib.request.urlopen(url, timeout=5, context=context).read().decode())
END"#;

#[derive(Clone, Debug, Default)]
pub struct About {
    pub version: Option<String>,
    pub ready: bool,
    /// The disk of [`IMAGES`].
    pub images: Disk,
    /// That of the folder that files are copied to.
    pub transfer: Disk,
    /// That of the images that Docker has loaded.
    pub docker: Disk,
}

impl About {
    pub async fn read(ssh: &Ssh<'_>) -> Result<Self> {
        let text = ssh.read(Kind::Question, ABOUT, &[TransferFolder::parent(&ssh.address)]).await?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let is_disk = |line: &&str| line.starts_with("disk ");
        let disk = |name: &str| {
            let of_name =
                |line: &str| line.strip_prefix("disk ")?.strip_prefix(name)?.strip_prefix(' ').map(Disk::parse);
            text.lines().take_while(is_disk).find_map(of_name).unwrap_or_default()
        };
        let rest: Vec<&str> = text.lines().skip_while(is_disk).collect();
        let information: SystemInformation = serde_json::from_str(rest.join("\n").trim()).unwrap_or_default();
        let version = information.version.map(|text| excerpt(&text, 40));
        let (images, transfer, docker) = (disk("images"), disk("transfer"), disk("docker"));
        Self { version, ready: information.ready, images, transfer, docker }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_does_not_tell_is_unknown() {
        let about = About::parse(
            "disk images 8 1000\ndisk transfer 8 \ndisk docker  \n{\"version\": \"2.9\", \"ready\": true}\n",
        );
        assert_eq!((about.images.free, about.transfer.free, about.docker.free), (Some(1_024_000), None, None));
        assert!(about.images.is_that_of(&about.transfer) && !about.docker.is_that_of(&Disk::default()));
        assert!(about.ready && about.version.as_deref() == Some("2.9"));
        for text in ["", "disk images\n", "disk images 8 -\n", "disk images 8 1.5G\n", "df: no such file\n"] {
            assert_eq!(About::parse(text).images.free, None, "{text}");
        }
        assert_eq!(About::parse("disk images 8 0\n").images.free, Some(0));
        assert_eq!(About::parse(&format!("disk images 8 {}\n", u64::MAX)).images.free, None);
    }
}
