//! The facts about a server that the doctor judges.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::ssh::exchange::Kind;
use crate::ssh::session::Ssh;

/// Prints `key=value` lines. Settings for the next boot come in the order in which systemd reads them [sysctl.d(5)];
/// /etc/sysctl.conf counts through Ubuntu's link 99-sysctl.conf. The age of their files tells whether dockerd was
/// started after they were written.
const READ: &str = r#"
echo "now net.ipv4.ip_forward=$(cat /proc/sys/net/ipv4/ip_forward 2>/dev/null)"
echo "now net.ipv6.conf.all.forwarding=$(cat /proc/sys/net/ipv6/conf/all/forwarding 2>/dev/null)"
folders="/etc/sysctl.d /run/sysctl.d /usr/local/lib/sysctl.d /usr/lib/sysctl.d"
keys='net[./]ipv4[./]ip_forward\|net[./]ipv6[./]conf[./]all[./]forwarding'
for name in $(ls $folders 2>/dev/null | grep '\.conf$' | LC_ALL=C sort -u); do
	for folder in $folders; do
		if [ -e "$folder/$name" ]; then
			age=$(stat -L -c %Y "$folder/$name")
			sed -n "s/^[ -]*\($keys\)[ ]*=[ ]*\([0-9]*\).*/\1=\2/p" "$folder/$name" 2>/dev/null |
				tr / . | sed "s|^|boot $age |"
			break
		fi
	done
done
for p in /proc/[0-9]*; do
	[ "$(cat "$p/comm" 2>/dev/null)" = dockerd ] || continue
	# Field 22 of proc_pid_stat(5): ticks since the boot, which was at `btime`.
	echo "dockerd=$(($(sed -n 's/^btime //p' /proc/stat) + $(cut -d ' ' -f 22 "$p/stat") / $(getconf CLK_TCK)))"
	break
done
[ -d /sys/module/vrf ] && echo vrf=now
cat /etc/modules-load.d/*.conf /usr/lib/modules-load.d/*.conf 2>/dev/null | grep -qx '[ ]*vrf[ ]*' &&
	echo vrf-at-boot=yes
echo "ssh=$(systemctl is-enabled ssh.service 2>/dev/null)"
[ -x /usr/local/bin/docker-shim ] && echo shim=yes
[ -r /etc/default/docker-shim.env ] && sed -n 's/^OPTS=/opts=/p' /etc/default/docker-shim.env | tail -n 1
:
"#;

#[derive(Clone, Debug, Default)]
pub struct Facts {
    values: BTreeMap<String, String>,
    /// Sysctls at the next boot, and when their file was written, in Unix seconds.
    pub boot: BTreeMap<String, (String, u64)>,
}

impl Facts {
    pub async fn read(ssh: &Ssh<'_>) -> Result<Self> {
        Ok(Self::parse(&ssh.read(Kind::Question, READ, &[]).await?))
    }

    pub fn parse(text: &str) -> Self {
        let mut facts = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match key.strip_prefix("boot ").and_then(|key| key.split_once(' ')) {
                Some((age, key)) => {
                    facts.boot.insert(key.to_owned(), (value.to_owned(), age.parse().unwrap_or(0)));
                }
                None => {
                    facts.values.insert(key.to_owned(), value.to_owned());
                }
            }
        }
        facts
    }

    /// Empty if the server has not printed it.
    pub fn value(&self, key: &str) -> &str {
        self.values.get(key).map(String::as_str).unwrap_or_default()
    }

    /// When dockerd was started, in Unix seconds.
    pub fn dockerd(&self) -> Option<u64> {
        self.value("dockerd").parse().ok()
    }
}
