//! What a server says about itself.

use anyhow::Result;

use crate::remote_text::excerpt;
use crate::ssh::exchange::Kind;
use crate::ssh::session::Ssh;
use crate::version::SystemInformation;

/// The folder whose disk nodes are installed on.
pub const IMAGES: &str = "/var/lib/libvirt/images";

/// CML is asked on the server itself, where its name and certificate do not matter.
const ABOUT: &str = r#"df -Pk /var/lib/libvirt/images | awk 'NR == 2 { print $4 }'
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
    /// Free bytes on the disk of [`IMAGES`].
    pub free: u64,
}

impl About {
    pub async fn read(ssh: &Ssh<'_>) -> Result<Self> {
        let text = ssh.read(Kind::Question, ABOUT, &[]).await?;
        let (free, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let information: SystemInformation = serde_json::from_str(rest.trim()).unwrap_or_default();
        let version = information.version.map(|text| excerpt(&text, 40));
        Ok(Self { version, ready: information.ready, free: free.trim().parse::<u64>().unwrap_or(0) * 1024 })
    }
}
