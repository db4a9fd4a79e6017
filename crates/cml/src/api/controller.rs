//! CML's REST API, as far as nodes need it. [docs/cml.md 2]

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use hyper::Method;
use serde_json::Value;
use tokio::sync::{Mutex, mpsc};

use crate::access::Access;
use crate::address::Address;
use crate::api::http::{Answer, Failure, Sending, Server, escape};
use crate::api::proxy::Proxy;
use crate::api::trust::{Judge, Trust};
use crate::bundle::ArchiveFile;
use crate::fingerprint::Fingerprint;
use crate::known;
use crate::progress::Progress;
use crate::secret::Secret;
use crate::version::Version;
use digests::HashingWriter;

const PORT: u16 = 443;

/// How often a request is made again that the server had no time for.
const TRIES: u32 = 4;

/// The longest that `Retry-After` is obeyed.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long a logout may take.
const LEAVE_TIME: Duration = Duration::from_secs(5);

/// Bytes of a file that are read at once.
const PIECE: usize = 256 << 10;

const BOUNDARY: &str = "cml-nodes-7d1c5b1e4a3f49b2";

/// Which of the two definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Node,
    Image,
}

impl Kind {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node definition",
            Self::Image => "image definition",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Node => "node_definitions",
            Self::Image => "image_definitions",
        }
    }
}

/// The controller said no.
#[derive(Debug)]
pub struct Refused {
    pub status: u16,
    /// The controller's own words.
    pub said: String,
    what: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} was refused ({}): {}", self.what, self.status, self.said)
    }
}

impl std::error::Error for Refused {}

/// A node of a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    pub lab: String,
    pub node: String,
}

/// A controller that answered, and is trusted.
pub struct Controller<'a> {
    pub access: &'a Access,
    pub address: Address,
    server: Server,
    base: String,
    /// As the controller writes it.
    pub version: String,
    pub ready: bool,
    token: Mutex<Option<Secret>>,
}

/// What goes with a request. It can be made again.
pub(super) enum Content<'a> {
    Nothing,
    Json(String),
    Yaml(&'a str),
    File(&'a ArchiveFile, &'a Progress),
}

impl<'a> Controller<'a> {
    /// Makes contact: no secret is sent yet.
    ///
    /// # Errors
    /// If it does not answer, is not trusted, or is no controller.
    pub async fn open(access: &'a Access, address: &Address) -> Result<Self> {
        let place = place_of(address);
        let mut trust = trust_in(access, &place)?;
        loop {
            let mut controller = Self::at(access, address, trust.clone())?;
            match controller.exchange(&Method::GET, "system_information", &Content::Nothing, None).await {
                Ok(answer) => {
                    controller.introduce(&answer)?;
                    if let (Trust::Pinned(pinned), true) = (&trust, access.fingerprint.is_some()) {
                        remember(access, &place, pinned)?;
                    }
                    return Ok(controller);
                }
                Err(Failure::Untrusted { fingerprint, changed, why }) => {
                    trust = Trust::Pinned(first_contact(access, &place, fingerprint, changed, &why).await?);
                }
                Err(other) => return Err(controller.explain(other)),
            }
        }
    }

    /// Not spoken to yet.
    fn at(access: &'a Access, address: &Address, trust: Trust) -> Result<Self> {
        let place = place_of(address);
        let server = Server {
            host: address.host.clone(),
            port: address.port.unwrap_or(PORT),
            proxy: Proxy::on_the_way_to(&place)?,
            place,
            judge: Judge::new(trust, access.settings.authorities.as_deref())?,
            patience: access.patience,
        };
        Ok(Self {
            access,
            address: address.clone(),
            server,
            base: format!("{}/api/v0/", address.path.as_deref().unwrap_or_default().trim_end_matches('/')),
            version: String::new(),
            ready: false,
            token: Mutex::new(access.settings.token.clone()),
        })
    }

    fn introduce(&mut self, answer: &Answer) -> Result<()> {
        let said = self.json(answer, "asking for its version").context("is this a CML controller?")?;
        let version = said
            .get("version")
            .and_then(Value::as_str)
            .context("it does not tell its version; is it a CML controller?")?;
        version.clone_into(&mut self.version);
        self.ready = said.get("ready").and_then(Value::as_bool).unwrap_or(false);
        Ok(())
    }

    /// Its version, if that can be read.
    pub fn version(&self) -> Option<Version> {
        Version::parse(&self.version)
    }

    /// A definition as the controller has it.
    ///
    /// # Errors
    /// If the controller does not answer.
    pub async fn definition(&self, kind: Kind, id: &str) -> Result<Option<String>> {
        let what = format!("reading the {} {id}", kind.name());
        match self.call(&Method::GET, &format!("{}/{}", kind.path(), escape(id)), Content::Nothing, &what).await {
            Ok(answer) => {
                let text = String::from_utf8(answer.body).context("the definition is not UTF-8")?;
                // Some versions send the YAML within a JSON string.
                Ok(Some(serde_json::from_str::<String>(&text).unwrap_or(text)))
            }
            Err(error) if error.downcast_ref::<Refused>().is_some_and(|refused| refused.status == 404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a definition, or replaces the one of the same id.
    ///
    /// # Errors
    /// If the controller refuses.
    pub async fn write_definition(&self, kind: Kind, id: &str, text: &str, replace: bool) -> Result<()> {
        let (method, verb) = if replace { (Method::PUT, "replacing") } else { (Method::POST, "making") };
        self.call(&method, kind.path(), Content::Yaml(text), &format!("{verb} the {} {id}", kind.name()))
            .await
            .map(drop)
    }

    /// # Errors
    /// If the controller refuses: it is read-only, or in use.
    pub async fn delete_definition(&self, kind: Kind, id: &str) -> Result<()> {
        let path = format!("{}/{}", kind.path(), escape(id));
        self.call(&Method::DELETE, &path, Content::Nothing, &format!("deleting the {} {id}", kind.name()))
            .await
            .map(drop)
    }

    /// # Errors
    /// If the controller refuses.
    pub async fn set_read_only(&self, kind: Kind, id: &str, read_only: bool) -> Result<()> {
        let path = format!("{}/{}/read_only", kind.path(), escape(id));
        let what = format!("setting `read_only` of the {} {id} to {read_only}", kind.name());
        self.call(&Method::PUT, &path, Content::Json(read_only.to_string()), &what).await.map(drop)
    }

    /// The ids of the image definitions that belong to a node definition.
    ///
    /// # Errors
    /// If the controller does not answer.
    pub async fn images_of(&self, id: &str) -> Result<Vec<String>> {
        let (path, what) = (format!("node_definitions/{}/image_definitions", escape(id)), "listing image definitions");
        let answer = self.call(&Method::GET, &path, Content::Nothing, what).await?;
        let images = self.json(&answer, what)?;
        let ids = images.as_array().into_iter().flatten().filter_map(|image| image.get("id")?.as_str());
        Ok(ids.map(str::to_owned).collect())
    }

    /// The names of the files that wait in the drop folder.
    ///
    /// # Errors
    /// If the controller does not answer.
    pub async fn drop_folder(&self) -> Result<Vec<String>> {
        let what = "listing the drop folder";
        let answer = self.call(&Method::GET, "list_image_definition_drop_folder", Content::Nothing, what).await?;
        serde_json::from_slice(&answer.body).context("the list of the drop folder can't be read")
    }

    /// Sends the archive into the drop folder. What is sent is digested on the way, and the request is broken
    /// off before its end if the file is not the one that was saved.
    ///
    /// # Errors
    /// If the file has changed, or the controller refuses.
    pub async fn upload(&self, archive: &ArchiveFile, progress: &Progress) -> Result<()> {
        let what = format!("sending {}", archive.name);
        self.call(&Method::POST, "images/upload", Content::File(archive, progress), &what).await.map(drop)
    }

    /// # Errors
    /// If the controller refuses.
    pub async fn remove_dropped(&self, file: &str) -> Result<()> {
        let what = format!("removing {file} from the drop folder");
        self.call(&Method::DELETE, &format!("images/manage/{}", escape(file)), Content::Nothing, &what).await.map(drop)
    }

    /// The nodes of labs that are of this node definition, as far as this user may see them.
    ///
    /// # Errors
    /// If the controller does not answer.
    pub async fn uses(&self, id: &str) -> Result<Vec<Use>> {
        let answer = self.call(&Method::GET, "labs?show_all=true", Content::Nothing, "listing the labs").await?;
        let labs: Vec<String> = serde_json::from_slice(&answer.body).context("the list of labs can't be read")?;
        let mut uses = Vec::new();
        for lab in labs {
            let path = format!("labs/{}/topology?exclude_configurations=true", escape(&lab));
            let answer = match self.call(&Method::GET, &path, Content::Nothing, "reading a lab").await {
                Ok(answer) => answer,
                // It went meanwhile, or is somebody else's.
                Err(error) if error.is::<Refused>() => continue,
                Err(error) => return Err(error),
            };
            uses.extend(uses_in(&self.json(&answer, "reading a lab")?, id));
        }
        Ok(uses)
    }

    /// Free bytes on the controller's disk, if it tells.
    ///
    /// # Errors
    /// If the controller does not answer.
    pub async fn free_space(&self) -> Result<Option<u64>> {
        let answer = self.call(&Method::GET, "system_stats", Content::Nothing, "asking for free space").await?;
        let stats = self.json(&answer, "asking for free space")?;
        let controller = stats.pointer("/all/controller/disk/free").or_else(|| stats.pointer("/all/disk/free"));
        Ok(controller.and_then(Value::as_u64))
    }

    /// Logs in now, so that a wrong password is told before anything has changed.
    ///
    /// # Errors
    /// If the controller does not accept it.
    pub async fn log_in(&self) -> Result<()> {
        self.token(None).await.map(drop)
    }

    /// Ends the session, unless the person brought it along. A controller that does not answer ends it by itself, later.
    pub async fn log_out(&self) {
        let token = self.token.lock().await.take();
        let Some(token) = token.filter(|token| self.access.settings.token.as_ref() != Some(token)) else { return };
        let _unfinished = self.access.ui.interrupt().hold();
        let leaving = self.exchange(&Method::DELETE, "logout", &Content::Nothing, Some(&token));
        let _ = tokio::time::timeout(LEAVE_TIME, leaving).await;
    }

    /// The token; a new one if `refused` is the one that we have.
    async fn token(&self, refused: Option<&Secret>) -> Result<Secret> {
        let mut token = self.token.lock().await;
        if let Some(known) = token.as_ref().filter(|known| refused != Some(known)) {
            return Ok(known.clone());
        }
        let (user, password) = self.access.credentials(self.address.user.as_deref(), &self.address.to_string()).await?;
        let body = serde_json::json!({"username": user, "password": password.reveal()}).to_string();
        let answer = self.patiently(&Method::POST, "authenticate", &Content::Json(body), None).await?;
        let answer = match answer.status {
            401 | 403 => bail!("{} does not accept the password of `{user}` (VIRL2_USER, VIRL2_PASS)", self.address),
            _ => self
                .accepted(answer, "logging in")
                .map_err(|error| anyhow!(password.blot_out(&format!("{error:#}"))))?,
        };
        let fresh = serde_json::from_slice::<String>(&answer.body).map(Secret::new);
        let fresh = fresh.map_err(|_| anyhow!("{} answered a login with something that is no token", self.address))?;
        *token = Some(fresh.clone());
        Ok(fresh)
    }

    /// A request with the token, made again with a fresh one if that has expired.
    pub(super) async fn call(&self, method: &Method, path: &str, content: Content<'_>, what: &str) -> Result<Answer> {
        let token = self.token(None).await?;
        let mut answer = self.patiently(method, path, &content, Some(&token)).await;
        if answer.as_ref().is_ok_and(|answer| answer.status == 401) {
            self.access.ui.note(format_args!("{}: the session has expired; logging in again", self.address));
            let token = self.token(Some(&token)).await?;
            answer = self.patiently(method, path, &content, Some(&token)).await;
        }
        let answer = answer.with_context(|| format!("{what} failed"))?;
        self.accepted(answer, what)
    }

    /// A request, made again while the server is too busy. One that may have been carried out already is made
    /// again only if that does no harm.
    async fn patiently(
        &self,
        method: &Method,
        path: &str,
        content: &Content<'_>,
        token: Option<&Secret>,
    ) -> Result<Answer> {
        let harmless = matches!(*method, Method::GET | Method::PUT);
        let mut pause = Duration::from_millis(500);
        for again in (0..TRIES).rev() {
            let (wait, why) = match self.exchange(method, path, content, token).await {
                Ok(answer) => match answer.status {
                    429 => (answer.retry_after.map_or(pause, Duration::from_secs), answer_or(answer, again)?),
                    502..=504 if harmless => (pause, answer_or(answer, again)?),
                    _ => return Ok(answer),
                },
                Err(failure @ (Failure::Cut(_) | Failure::Unreachable(_))) if harmless && again > 0 => {
                    (pause, Err(self.explain(failure).to_string()))
                }
                Err(failure) => return Err(self.explain(failure)),
            };
            let why = match why {
                Ok(answer) => return Ok(answer),
                Err(why) => why,
            };
            self.access.ui.note(format_args!("{}: {why}; trying again", self.address));
            tokio::time::sleep(wait.min(LONGEST_PAUSE)).await;
            pause *= 2;
        }
        bail!("{} had no time for it in {TRIES} tries", self.address)
    }

    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        content: &Content<'_>,
        token: Option<&Secret>,
    ) -> Result<Answer, Failure> {
        self.access.ui.command(format_args!("{method} https://{}{}{path}", self.address, self.base));
        let mut head = hyper::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("host", self.address.to_string());
        if let Some(token) = token {
            head = head.header("authorization", format!("Bearer {}", token.reveal()));
        }
        let nobody = Progress::default();
        let (head, sending, progress) = match content {
            Content::Nothing => (head, Sending::nothing(), &nobody),
            Content::Json(text) => {
                (head.header("content-type", "application/json"), Sending::text(text.clone()), &nobody)
            }
            // As the client does it: the controller looks at the text itself.
            Content::Yaml(text) => (head, Sending::text((*text).to_owned()), &nobody),
            Content::File(archive, progress) => {
                progress.begin_anew();
                let kind = format!("multipart/form-data; boundary={BOUNDARY}");
                let head = head.header("content-type", kind).header("x-original-file-name", &archive.name);
                (head, multipart(archive), *progress)
            }
        };
        self.server.request(head, sending, progress).await
    }

    fn accepted(&self, answer: Answer, what: &str) -> Result<Answer> {
        if answer.is_html {
            bail!(
                "{what}: {} answered ({}) with a web page, not as CML's API does: {}; is a proxy in between, or the address wrong?",
                self.address,
                answer.status,
                title_of(&answer.body)
            );
        }
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        let (status, what) = (answer.status, format!("{}: {what}", self.address));
        Err(anyhow::Error::new(Refused { status, said: said(&answer.body), what }))
    }

    pub(super) fn json(&self, answer: &Answer, what: &str) -> Result<Value> {
        if answer.is_html || !(200..300).contains(&answer.status) {
            bail!("{what}: {} answered ({}): {}", self.address, answer.status, title_of(&answer.body));
        }
        serde_json::from_slice(&answer.body).map_err(|_| anyhow!("{what}: {} did not answer in JSON", self.address))
    }

    fn explain(&self, failure: Failure) -> anyhow::Error {
        let at = &self.address;
        match failure {
            Failure::Unreachable(why) => anyhow!("{at} can't be reached: {why}"),
            Failure::Untrusted { fingerprint, why, .. } => {
                anyhow!("{at} now shows another certificate, {fingerprint}: {why}")
            }
            Failure::Cut(why) => anyhow!("the connection to {at} was cut: {why}"),
            Failure::Stalled(time) => anyhow!("{at} has been silent for {} s (--timeout)", time.as_secs()),
            Failure::Ours(why) => anyhow!(why),
        }
    }
}

/// Why it must be tried again, or on the last try the answer itself.
#[expect(clippy::unnecessary_wraps, reason = "so that both branches of its caller read alike")]
fn answer_or(answer: Answer, again: u32) -> Result<Result<Answer, String>> {
    if again == 0 { Ok(Ok(answer)) } else { Ok(Err(format!("it has no time now ({})", answer.status))) }
}

/// By which its certificate is remembered.
fn place_of(address: &Address) -> String {
    format!("{}:{}", address.url_host(), address.port.unwrap_or(PORT))
}

fn trust_in(access: &Access, place: &str) -> Result<Trust> {
    if access.insecure {
        access.ui.warn(format_args!("--insecure: whoever answers at {place} is believed, and gets the password"));
        return Ok(Trust::Anyone);
    }
    let pinned = match &access.fingerprint {
        Some(fingerprint) => Some(fingerprint.clone()),
        None => known::pinned(&access.memory, place)?,
    };
    Ok(pinned.map_or(Trust::Authorities, Trust::Pinned))
}

fn remember(access: &Access, place: &str, fingerprint: &Fingerprint) -> Result<()> {
    if known::pinned(&access.memory, place)?.as_ref() != Some(fingerprint) {
        let path = known::pin(&access.memory, place, fingerprint)?;
        access.ui.note(format_args!("the certificate of {place} is pinned in {}", path.display()));
    }
    Ok(())
}

/// A certificate that nobody vouches for: shown, and pinned only if a person says so.
async fn first_contact(
    access: &Access,
    place: &str,
    fingerprint: Fingerprint,
    changed: bool,
    why: &str,
) -> Result<Fingerprint> {
    let compare = "On the server, `openssl s_client -connect localhost:443 </dev/null | openssl x509 -noout -fingerprint -sha256` prints the true one";
    if changed {
        bail!(
            "{place} does not show the certificate that is pinned for it, but one with the fingerprint {fingerprint}\n\
             Either the server got a new one, or this is not the server. {compare}; if it is that, give it with --fingerprint"
        );
    }
    let _one_at_a_time = access.questions.lock().await;
    access.ui.note(format_args!(
        "{place}: no authority known here vouches for its certificate ({why})\n  SHA-256 fingerprint {fingerprint}\n  {compare}"
    ));
    if !access.ui.can_ask() {
        bail!(
            "the certificate of {place} is not trusted\nIf the fingerprint above is the server's, say so once: --fingerprint {fingerprint}\n\
             Or name the authority that signed it: CA_BUNDLE=FILE"
        );
    }
    anyhow::ensure!(
        access.ui.ask("Is this the server, and shall its certificate be remembered?").await?,
        "the certificate of {place} is not trusted"
    );
    remember(access, place, &fingerprint)?;
    Ok(fingerprint)
}

fn uses_in(topology: &Value, id: &str) -> Vec<Use> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("?").to_owned();
    let lab = text(topology.pointer("/lab/title").or_else(|| topology.get("lab_title")));
    let nodes = topology.get("nodes").and_then(Value::as_array).into_iter().flatten();
    let ours = nodes.filter(|node| node.get("node_definition").and_then(Value::as_str) == Some(id));
    ours.map(|node| Use { lab: lab.clone(), node: text(node.get("label")) }).collect()
}

/// `{"code": …, "description": "…"}`, or what it is instead.
fn said(body: &[u8]) -> String {
    let json = serde_json::from_slice::<Value>(body).ok();
    let description = json.as_ref().and_then(|value| value.get("description")).map(|text| match text {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    let text = description.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let text: String = text::printable(text.trim()).chars().take(600).collect();
    if text.is_empty() { "it does not say why".to_owned() } else { text }
}

/// The title of a web page, or the first words of what is none.
fn title_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title>").and_then(|at| Some((at + 7, at + lower[at..].find("</title>")?)));
    let words = title.and_then(|(from, to)| text.get(from..to)).unwrap_or(&text);
    let words: String = text::printable(words.trim()).chars().take(100).collect();
    format!("`{}`", words.replace('\n', " "))
}

/// The archive as the one part `field0` of a form. Its end is sent only when the file proved to be the saved one.
fn multipart(archive: &ArchiveFile) -> Sending {
    let name = archive.name.replace(['"', '\r', '\n'], "_");
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"field0\"; filename=\"{name}\"\r\nContent-Type: application/gzip\r\n\r\n"
    );
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    let size = head.len() as u64 + archive.size + tail.len() as u64;
    let (feeder, pieces) = mpsc::channel(4);
    let archive = archive.clone();
    std::thread::spawn(move || {
        let send = |piece: std::io::Result<Bytes>| feeder.blocking_send(piece).is_ok();
        if !send(Ok(head.into())) {
            return;
        }
        let sent = read_archive(&archive, |piece| send(Ok(piece)));
        // Nobody listens any more if the request has failed already.
        let _ = match sent {
            Ok(()) => send(Ok(tail.into())),
            Err(error) => send(Err(std::io::Error::other(format!("{error:#}")))),
        };
    });
    Sending::Pieces { pieces, size, left: size }
}

/// Reads the archive piece by piece, until `take` wants no more.
///
/// # Errors
/// If it can't be read, or is not the one that was saved.
pub fn read_archive(archive: &ArchiveFile, mut take: impl FnMut(Bytes) -> bool) -> Result<()> {
    let mut file = open_archive(&archive.path, archive.size)?;
    let mut hash = HashingWriter::new(std::io::sink());
    let mut left = archive.size;
    // Always one piece behind: the last is given only when the whole is known to be right.
    let mut held = Bytes::new();
    while left > 0 {
        let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
        file.read_exact(&mut piece).with_context(|| changed(&archive.path))?;
        std::io::Write::write_all(&mut hash, &piece)?;
        left -= piece.len() as u64;
        let before = std::mem::replace(&mut held, piece.into());
        if !before.is_empty() && !take(before) {
            return Ok(());
        }
    }
    anyhow::ensure!(hash.finish().1 == archive.digest, changed(&archive.path));
    take(held);
    Ok(())
}

/// Opens the archive, which must still have the size that it was saved with.
///
/// # Errors
/// If it has not, or is gone.
pub fn open_archive(path: &Path, size: u64) -> Result<std::fs::File> {
    let file = std::fs::File::open(path).with_context(|| format!("{} can't be read", path.display()))?;
    anyhow::ensure!(file.metadata()?.len() == size, changed(path));
    Ok(file)
}

fn changed(path: &Path) -> String {
    format!("{} has changed since it was saved; run this again", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use digests::Digest;

    #[test]
    fn refusals_are_told_in_the_controllers_words() {
        assert_eq!(
            said(br#"{"code": 400, "description": "Node definition is read-only."}"#),
            "Node definition is read-only."
        );
        assert_eq!(said(b""), "it does not say why");
        assert_eq!(title_of(b"<html><head><title>502 Bad Gateway</title></head>"), "`502 Bad Gateway`");
    }

    #[test]
    fn uses_are_found_in_topologies() {
        let topology = serde_json::json!({"lab": {"title": "L"}, "nodes": [
            {"label": "r1", "node_definition": "frr-10-4"}, {"label": "pc", "node_definition": "alpine"}]});
        assert_eq!(uses_in(&topology, "frr-10-4"), [Use { lab: "L".into(), node: "r1".into() }]);
    }

    #[test]
    fn an_archive_that_is_another_now_is_not_read_to_its_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "changed").unwrap();
        let archive = ArchiveFile {
            path: file.path().to_owned(),
            name: "a.tar.gz".into(),
            size: 7,
            digest: Digest::of("another"),
        };
        let mut taken = 0;
        let said = read_archive(&archive, |piece| {
            taken += piece.len();
            true
        })
        .unwrap_err()
        .to_string();
        assert!(said.contains("has changed since it was saved"), "{said}");
        assert_eq!(taken, 0);
        let longer = ArchiveFile { size: 8, ..archive };
        assert!(read_archive(&longer, |_| true).is_err());
    }
}
