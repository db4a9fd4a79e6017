//! The engine is found in the way of the docker command line.

use std::path::Path;

use crate::common::Repo;
use crate::common::engine::{Engine, PrivateEngine};
use sha2::Digest;

/// Writes a context of the docker command line, as `docker context create` does.
fn context(config: &Path, name: &str, host: &str) {
    let meta = config.join("contexts/meta").join(hex::encode(sha2::Sha256::digest(name)));
    std::fs::create_dir_all(&meta).unwrap();
    let text = serde_json::json!({"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host}}});
    std::fs::write(meta.join("meta.json"), text.to_string()).unwrap();
}

#[test]
fn a_docker_context_is_followed() {
    let engine = PrivateEngine::start();
    let config = tempfile::tempdir().unwrap();
    context(config.path(), "lab", &engine.host());
    let mut repo = Repo::tiny();
    repo.set("DOCKER_CONFIG", config.path());

    repo.set("DOCKER_CONTEXT", "lab");
    repo.xtask(&["save"]).success();
    assert!(engine.client().image(&repo.image()).is_some(), "it was built over there");
    assert!(Engine::here().image(&repo.image()).is_none(), "and not here");
    repo.unset("DOCKER_CONTEXT");

    std::fs::write(config.path().join("config.json"), r#"{"currentContext": "lab"}"#).unwrap();
    repo.xtask(&["save"]).success().says(["is up to date"]);

    repo.set("DOCKER_CONTEXT", "gone");
    repo.xtask(&["save"]).failure().says(["the docker context `gone` has no ", "meta.json"]);
    repo.unset("DOCKER_CONTEXT");
}

#[test]
fn a_symbolic_link_to_the_socket_works() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("sock");
    std::os::unix::fs::symlink("/var/run/docker.sock", &link).unwrap();
    let mut repo = Repo::tiny();
    repo.set("DOCKER_HOST", format!("unix://{}", link.display()));
    repo.xtask(&["build"]).success();
    assert!(Engine::here().image(&repo.image()).is_some());
}

/// Certificates of one authority: for the engine at 127.0.0.1 and for the client.
fn certificates(folder: &Path) {
    let openssl = |args: &str| {
        let output = std::process::Command::new("openssl").args(args.split(' ')).current_dir(folder).output();
        let output = output.expect("this test makes certificates with the program openssl: apt-get install openssl");
        assert!(output.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!("req -x509 {new} -days 2 -subj /CN=authority -keyout ca-key.pem -out ca.pem"));
    for (name, extension) in
        [("server", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth"), ("", "extendedKeyUsage=clientAuth")]
    {
        let file = |end: &str| if name.is_empty() { format!("{end}.pem") } else { format!("{name}-{end}.pem") };
        std::fs::write(folder.join("extension"), extension).unwrap();
        let (key, certificate) = (file("key"), file("cert"));
        openssl(&format!("req {new} -subj /CN=party -keyout {key} -out request.pem"));
        openssl(&format!(
            "x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 \
                -extfile extension -out {certificate}"
        ));
    }
}

#[test]
fn an_engine_behind_tls_is_used_and_its_certificate_checked() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificates(ours.path());
    certificates(theirs.path());
    let file = |name: &str| ours.path().join(name).to_str().unwrap().to_owned();
    let engine = PrivateEngine::start_with(&[
        "--host",
        "tcp://127.0.0.1:2376",
        "--tlsverify",
        "--tlscacert",
        &file("ca.pem"),
        "--tlscert",
        &file("server-cert.pem"),
        "--tlskey",
        &file("server-key.pem"),
    ]);
    let host = format!("tcp://127.0.0.1:{}", engine.forward(2376));
    let mut repo = Repo::tiny();
    repo.set("DOCKER_HOST", &host);
    repo.set("DOCKER_TLS_VERIFY", "1");
    repo.set("DOCKER_CERT_PATH", ours.path());
    repo.xtask(&["save"]).success();
    assert!(engine.client().image(&repo.image()).is_some());

    // The engine has the certificate of another authority.
    std::fs::copy(theirs.path().join("ca.pem"), ours.path().join("ca.pem")).unwrap();
    repo.xtask(&["build"]).failure().says([&host, "certificate"]);
    // The client has the certificate of another authority.
    repo.set("DOCKER_CERT_PATH", theirs.path());
    repo.xtask(&["build"]).failure().says([&host]);
    std::fs::remove_file(theirs.path().join("key.pem")).unwrap();
    repo.xtask(&["build"]).failure().says([&host, "key.pem"]);
    // Without TLS the engine cannot be used.
    repo.unset("DOCKER_TLS_VERIFY");
    repo.xtask(&["build"]).failure().says([&host]);
    repo.unset("DOCKER_HOST");
}
