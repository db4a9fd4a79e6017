use super::*;

fn problems(arguments: &[&str]) -> Vec<String> {
    let elements: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    refused(&elements).into_iter().map(|refused| refused.argument).collect()
}

#[test]
fn a_misspelt_capability_is_recognised() {
    assert!(capability("CAP_NET_ADMN").unwrap_err().ends_with("did you mean `NET_ADMIN`?"));
    assert!(!capability("SYS_TIME").unwrap_err().contains("did you mean"));
}

#[test]
fn what_stays_in_the_container_is_accepted() {
    for arguments in [
        &["--sysctl", "net.ipv6.conf.all.forwarding=1", "--sysctl=kernel.shmmax=1", "--sysctl=fs.mqueue.msg_max=9"][..],
        &["--shm-size=512m", "--memory-swap=2g", "-m", "64m", "-m64m", "--cpus", "1", "--pids-limit=200"],
        &["--ulimit", "nofile=1024", "--tmpfs", "/run:size=1m", "-it", "-ti", "-ith", "r1", "-hr1", "-h=r1"],
        &["-eA=1", "-e", "A=-v", "--env=A=/a:/b", "-l", "a=b", "--read-only", "--tty=false", "-t=false"],
        &["--cap-drop=ALL", "--cap-add", "NET_RAW", "--cap-add=CAP_SYS_ADMIN", "--security-opt=no-new-privileges"],
        &["--network", "none", "-v", "/data", "--mount", "type=tmpfs,target=/t", "--mount=type=volume,dst=/v"],
        &["--memory=1024g", "--memory-swap", "1048576M", "--memory-reservation=67108864", "-m=1b", "--shm-size", "1G"],
        &["--tmpfs=/a", "--tmpfs", "/a:", "--tmpfs=/a:rw,noexec,size=1024m,mode=1777,uid=0"],
        &["--mount", "type=tmpfs,dst=/t,tmpfs-size=64m,tmpfs-mode=700", "--cap-drop=a,b", "--dns=::1,10.0.0.1"],
        &["--sysctl", "net.ipv4.ping_group_range=0 9", "--sysctl=net.a=1,net.b=2", "--cap-add=cap_Sys_Admin"],
        &["--log-opt", "max-size=10m", "--log-opt=max-file=2", "--hostname", "--privileged", "--ipc=private"],
    ] {
        assert_eq!(problems(arguments), [""; 0], "{arguments:?}");
    }
}

/// Each is refused as a whole.
const REFUSED: &[&[&str]] = &[
    &["--privileged"],
    &["--privileged=true"],
    &["--pid=host"],
    &["--pid", "host"],
    &["--network", "host"],
    &["--network=host"],
    &["--net=host"],
    &["--net=none"],
    &["--uts=host"],
    &["--ipc", "host"],
    &["--userns=host"],
    &["--cgroupns=host"],
    &["--device=/dev/mem"],
    &["--device-cgroup-rule=a"],
    &["--gpus=all"],
    &["--runtime=other"],
    &["--volumes-from=db"],
    &["--volume=/:/host"],
    &["--volume", "/:/host"],
    &["--volume", "database:/d"],
    &["-v", "/:/host"],
    &["-v=/:/host"],
    &["-v/:/host"],
    &["-itv", "/:/host"],
    &["-itv=/:/host"],
    &["-tiv/:/host"],
    &["-v /:/host"],
    &["--mount", "type=bind,source=/,target=/host"],
    &["--mount=type=volume,source=database,target=/d"],
    &["--mount=type=volume,target=/d,volume-opt=device=/,volume-opt=o=bind"],
    &["--mount=type=volume,target=/d,\"volume-opt=device=/\""],
    &["--mount=TYPE=bind,SRC=/,target=/host"],
    &["--cap-add=ALL"],
    &["--cap-add", "SYS_MODULE"],
    &["--cap-add", "cap_dac_read_search"],
    &["--cap-add", "ſYS_MODULE"],
    &["--cap-add=ſys_tıme"],
    &["--cap-add=CAP_ſYS_MODULE"],
    &["--cap-add", "NET_RAW,SYS_MODULE"],
    &["--cap-add=NET_RAW,NET_ADMIN"],
    &["--cap-add", "\"NET_RAW\""],
    &["--cap-add", " NET_RAW"],
    &["--cap-add=CAP_CAP_NET_RAW"],
    &["--cap-add=NO_SUCH"],
    &["--cap-add="],
    &["--security-opt", "seccomp=unconfined"],
    &["--security-opt=apparmor=unconfined"],
    &["--security-opt=no-new-privileges=false"],
    &["--sysctl=kernel.core_pattern=|/x"],
    &["--sysctl", "vm.overcommit_memory=1"],
    &["--sysctl", "net./kernel.core_pattern=|/x"],
    &["--sysctl", "net.a=1,kernel.core_pattern=|/x"],
    &["--sysctl=net.a=1,\"kernel.core_pattern=|/x\""],
    &["--sysctl=net.a=1\nkernel.core_pattern=|/x"],
    &["--memory", "1000000g"],
    &["--memory=1025g"],
    &["--memory=1g "],
    &["--memory=1t"],
    &["--memory=1e9g"],
    &["--memory=99999999999g"],
    &["--memory=é"],
    &["--memory=g"],
    &["-m", "0"],
    &["-m0g"],
    &["--memory-swap=-1"],
    &["--memory-swap", "0"],
    &["--memory-reservation=2000g"],
    &["--shm-size", "1000g"],
    &["--shm-size=1025m"],
    &["--tmpfs", "/x:size=1000g"],
    &["--tmpfs=/x:ro,size=0"],
    &["--tmpfs=/x:size=90%"],
    &["--tmpfs=/x:ro:size=1000g"],
    &["--tmpfs=/x:nr_blocks=0"],
    &["--tmpfs=/x:shared"],
    &["--mount=type=tmpfs,dst=/x,tmpfs-size=1000g"],
    &["--mount=type=tmpfs,dst=/x,tmpfs-size"],
    &["--env", "VIRL2_PASS"],
    &["-eVIRL2_PASS"],
    &["--env-file=/root/.virlrc"],
    &["--label", "cml-nodes.lab=other"],
    &["--label", " cml-nodes.lab=other"],
    &["--label-file=/etc/shadow"],
    &["--cidfile=/etc/cron.d/x"],
    &["--log-driver=syslog"],
    &["--log-opt=path=/etc/x"],
    &["--log-opt", "max-size=-1"],
    &["--log-opt", "max-size=100g"],
    &["--pids-limit=-1"],
    &["--pids-limit", "0"],
    &["--publish=22:22"],
    &["-p22:22"],
    &["-P"],
    &["--link=db"],
    &["--restart=always"],
    &["--cgroup-parent=/"],
    &["--oom-score-adj=-1000"],
    &["--group-add=keep-groups"],
    &["alpine:latest"],
    &["-"],
    &["--"],
    &["--=x"],
    &["---privileged"],
    &["-é"],
    &["--hostname"],
    &["-v"],
];

#[test]
fn whatever_could_reach_the_host_is_refused_in_every_spelling() {
    for arguments in REFUSED {
        assert_eq!(problems(arguments), [arguments.join(" ")], "{arguments:?}");
    }
}

#[test]
fn a_value_hides_no_flag() {
    // `--tty` takes no value, so `-v` is a flag; `--hostname` takes one.
    assert_eq!(problems(&["--tty", "-v", "/:/h"]), ["-v /:/h"]);
    assert_eq!(problems(&["--hostname", "-v", "/:/h"]), ["/:/h"]);
    assert_eq!(problems(&["--privileged", "-v", "/:/h"]), ["--privileged", "-v /:/h"]);
    assert_eq!(problems(&["--hostname", "r1", "debian", "--tty"]), ["debian"]);
    // Docker itself refuses both flags and values in one element.
    assert_eq!(problems(&["--hostname r1", "--sysctl net.ipv4.ip_forward=1"]), [""; 0]);
}

#[test]
fn a_flag_of_one_list_takes_no_value_from_the_next() {
    let docker = Docker {
        misc_args: vec!["--hostname".to_owned()],
        run_args: vec!["-v".to_owned(), "/:/host".to_owned()],
        ..Docker::default()
    };
    let found = Config { docker, ..Config::default() }.host_access();
    let arguments: Vec<&str> = found.iter().map(|access| access.argument.as_str()).collect();
    assert_eq!(arguments, ["--hostname", "-v /:/host"]);
    assert_eq!(found[1].path, ["docker", "run_args", "0"]);
}

#[test]
fn the_other_keys_are_judged_too() {
    let config = Config {
        privileged: true,
        docker: Docker {
            mounts: [
                "type=bind,source=cfg/a,target=/a",
                "type=bind,source=/etc,target=/e",
                "type=bind,source=cfg/a,target=/a,SOURCE=/etc",
                "type=bind,source=cfg/a,\"source=/etc\"",
                "type=bind,source=cfg/a,target=/a,bind-propagation=shared",
            ]
            .map(str::to_owned)
            .to_vec(),
            caps: ["CAP_NET_RAW", "SYS_RAWIO", "ſYS_MODULE", "NET_RAW,SYS_MODULE", "\"SYS_MODULE\"", "cap_kill"]
                .map(str::to_owned)
                .to_vec(),
            env: ["A=1", "VIRL2_PASS"].map(str::to_owned).to_vec(),
            ..Docker::default()
        },
        ..Config::default()
    };
    let paths: Vec<String> = config.host_access().iter().map(|access| access.path.join(".")).collect();
    assert_eq!(
        paths,
        [
            "privileged", "docker.mounts.1", "docker.mounts.2", "docker.mounts.3", "docker.mounts.4", "docker.caps.1",
            "docker.caps.2", "docker.caps.3", "docker.caps.4", "docker.env.1"
        ]
    );
}
