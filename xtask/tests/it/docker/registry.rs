//! An image of a registry becomes a node, and is fetched again where the engine does not have it. The registry is a
//! stand-in on this machine, which Docker accepts without TLS.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use digests::Digest;

use crate::common::engine::Engine;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Serves one image by the registry's API. <https://distribution.github.io/distribution/spec/api/>
struct Registry {
    port: u16,
    /// The digest of the image's manifest.
    digest: String,
}

impl Registry {
    /// With the image of an archive that `docker save` wrote, as `vendor/tiny:1.0`.
    fn of(archive: &Path) -> Self {
        let mut files = HashMap::new();
        let mut tar = tar::Archive::new(std::fs::File::open(archive).unwrap());
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(name, bytes);
        }
        let listed: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        let content = |name: &serde_json::Value| files[name.as_str().unwrap()].clone();
        let mut blobs = HashMap::new();
        let mut blob = |kind: &str, bytes: Vec<u8>| {
            let digest = format!("sha256:{}", Digest::of(&bytes));
            let described = serde_json::json!({
                "mediaType": format!("application/vnd.docker.{kind}"), "size": bytes.len(), "digest": digest
            });
            blobs.insert(digest, bytes);
            described
        };
        let config = blob("container.image.v1+json", content(&listed[0]["Config"]));
        let layers = listed[0]["Layers"].as_array().unwrap().iter();
        let layers: Vec<_> = layers.map(|name| blob("image.rootfs.diff.tar.gzip", content(name))).collect();
        let manifest =
            serde_json::json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let manifest = manifest.to_string().into_bytes();
        let digest = format!("sha256:{}", Digest::of(&manifest));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = Arc::new((digest.clone(), manifest, blobs));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                std::thread::spawn(move || answer(stream, &served.0, &served.1, &served.2));
            }
        });
        Self { port, digest }
    }

    fn image(&self) -> String {
        format!("127.0.0.1:{}/vendor/tiny:1.0", self.port)
    }
}

/// Answers one request.
fn answer(mut stream: TcpStream, digest: &str, manifest: &[u8], blobs: &HashMap<String, Vec<u8>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    let _headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let mut words = request.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_manifest = ["1.0", digest].iter().any(|name| path == format!("/v2/vendor/tiny/manifests/{name}"));
    let blob = path.strip_prefix("/v2/vendor/tiny/blobs/").and_then(|name| blobs.get(name));
    let (status, kind, body): (_, _, &[u8]) = match blob {
        _ if path == "/v2/" => ("200 OK", "application/json", b"{}"),
        _ if is_manifest => ("200 OK", MANIFEST, manifest),
        Some(bytes) => ("200 OK", "application/octet-stream", bytes),
        None => ("404 Not Found", "application/json", b"{}"),
    };
    let named = if is_manifest { format!("Docker-Content-Digest: {digest}\r\n") } else { String::new() };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{named}Connection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
    if method != "HEAD" {
        let _ = stream.write_all(body);
    }
}

#[test]
fn an_image_of_a_registry_is_pinned_and_fetched_again_where_it_is_missing() {
    let mut repo = crate::common::node::node_that("trap 'exit 0' TERM; echo serving; while :; do sleep 0.1; done");
    repo.set("XTASK_ENGINE", "docker");
    crate::any_engine::any_image::add_partials(&repo);
    repo.xtask(&["build"]).success();
    let (archive, engine) = (repo.cache.path().join("tiny.tar"), Engine::at(Path::new("/var/run/docker.sock")));
    engine.save(&repo.image(), &archive);
    engine.remove(&repo.image());
    let registry = Registry::of(&archive);
    let (node, image) = (format!("{}-any", repo.node()), registry.image());
    repo.own(&node);
    repo.xtask(&["new", &node, "--image", &image]).success();
    let manifest = repo.read(&format!("docker/{node}/node.yaml"));
    assert!(manifest.contains(&format!("registry: \"{image}@{}\"\n", registry.digest)), "{manifest}");
    let tag = format!("{node}:1.0");
    let forget = || [&tag, &image].into_iter().for_each(|name| engine.remove(name));
    let id = engine.id(&tag);
    forget();
    repo.xtask(&["build", &node]).success().says(["from its registry"]);
    assert_eq!(engine.id(&tag), id);
    forget();
    let pinned = image.replace(":1.0", &format!("@{}", registry.digest));
    engine.remove(&pinned);
    drop(registry);
}
