//! A small HTTPS server that follows the rules of CML's controller: the parts of its `/api/v0` for definitions, images,
//! the drop folder and labs. [docs/cml.md 2, 3, 4]
//!
//! CML's own client is run against it to keep it honest; where the two differ, the client is right.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use cml::Fingerprint;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use super::labs::Labs;
use super::{PASSWORD, USER};

/// A running controller. It ends with the value.
pub struct Controller {
    pub port: u16,
    /// In PEM.
    pub certificate: String,
    pub fingerprint: String,
    state: Arc<Mutex<State>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

/// The state of a controller.
pub struct State {
    pub version: String,
    pub ready: bool,
    pub free: u64,
    pub node_definitions: BTreeMap<String, Value>,
    pub image_definitions: BTreeMap<String, Value>,
    pub drop_folder: BTreeMap<String, Bytes>,
    /// Registered files, by image definition.
    pub images: BTreeMap<String, (String, Bytes)>,
    pub labs: Labs,
    /// Whether replacing an image definition takes a file from the drop folder, as creating one does.
    pub takes_files_when_replacing: bool,
    /// Whether a definition that is written keeps the `read_only` that it had: CML has a call of its own for it.
    pub keeps_read_only: bool,
    /// Whether the user who logs in is an administrator; nothing for a controller that does not say.
    pub admin: Option<bool>,
    /// What the controller makes of every node definition that it gets; else it reads them itself, as YAML 1.2.
    pub reads_node_definitions_as: Option<Value>,
    /// Reads every definition: of a node or not, the text, and what it means or why it is refused.
    pub reader: Option<Reader>,
    /// How it writes a definition that is asked for; else as plain YAML.
    pub writer: Option<fn(&Value) -> String>,
    /// Every request: `POST images/upload`.
    pub log: Vec<String>,
    /// Bytes of archives that were received.
    pub received: u64,
    tokens: BTreeSet<String>,
    faults: Vec<Fault>,
    held: usize,
    /// How many answers come by a byte now and then.
    pub dripping: usize,
    released: bool,
}

pub type Reader = Box<dyn Fn(bool, &[u8]) -> Result<Value, String> + Send>;

/// Something that goes wrong with a request.
struct Fault {
    request: String,
    /// How many matching requests are let through before.
    skip: usize,
    times: u32,
    what: Trouble,
}

#[derive(Clone, Debug)]
pub enum Trouble {
    Status(u16, &'static str),
    /// The page of a proxy.
    Html(u16),
    /// This body as the answer.
    Body(String),
    /// An answer without end of this byte, and a refusal without end.
    Endless(u8),
    EndlessRefusal(u8),
    /// An answer that goes on by a byte now and then.
    Drip,
    /// The connection ends after so many bytes of the request's body.
    CutAfter(usize),
    /// No answer, and nothing more is read.
    Silence,
    /// The request waits until [`Controller::release`], and is carried out then.
    Held,
    /// The request is carried out, and its answer waits until [`Controller::release`].
    AnswerHeld,
    /// The token is no longer valid.
    Expired,
    /// The request is carried out, but its answer is lost.
    AnswerLost,
}

impl Controller {
    pub fn start() -> Self {
        Self::named(&["127.0.0.1", "localhost"])
    }

    /// With a certificate for other names.
    pub fn named(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let der = key.cert.der().clone();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(
                vec![der.clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.signing_key.serialize_der())),
            )
            .expect("a fitting key");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        listener.set_nonblocking(true).expect("a listener");
        let state = Arc::new(Mutex::new(State::fresh()));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, TlsAcceptor::from(Arc::new(config)), shared) => {}
                    _ = stopped => {}
                }
            });
        });
        let fingerprint = Fingerprint::of(&der).to_string();
        Self { port, certificate: key.cert.pem(), fingerprint, state, stop: Some(stop) }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address())
    }

    /// Its state, to inspect or to change.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds it")
    }

    /// From now on, the next `times` requests that begin like this fail in this way.
    pub fn trouble(&self, request: &str, times: u32, what: Trouble) {
        self.state().faults.push(Fault { request: request.to_owned(), skip: 0, times, what });
    }

    /// The same for the requests after `skip` that begin like this.
    pub fn trouble_from(&self, request: &str, skip: usize, times: u32, what: Trouble) {
        self.state().faults.push(Fault { request: request.to_owned(), skip, times, what });
    }

    /// Lets `skip` requests through and makes the next `times` ones fail in this way.
    pub fn trouble_after(&self, skip: usize, times: u32, what: Trouble) {
        self.state().faults.push(Fault { request: String::new(), skip, times, what });
    }

    /// The number of sessions without a logout.
    pub fn sessions(&self) -> usize {
        self.state().tokens.len()
    }

    /// Waits until a request is held.
    pub fn wait_for_held(&self) {
        wait_until(|| self.state().held > 0);
    }

    /// Releases the requests that are held.
    pub fn release(&self) {
        self.state().released = true;
        wait_until(|| self.state().held == 0);
        self.state().released = false;
    }

    pub fn end_all_trouble(&self) {
        self.state().faults.clear();
    }

    /// A lab with one node of this definition.
    pub fn add_lab(&self, title: &str, node_definition: &str) {
        self.state().labs.add(title, node_definition);
    }

    /// A lab with one node of this definition that has chosen an image definition.
    pub fn add_lab_with_image(&self, title: &str, node_definition: &str, image_definition: &str) {
        let mut state = self.state();
        let id = state.labs.add(title, node_definition);
        let lab = state.labs.all.get_mut(&id).expect("the new lab");
        lab.nodes[0].says.insert("image_definition".to_owned(), image_definition.into());
    }

    /// An image definition that came with the server.
    pub fn add_image(&self, id: &str, node_definition: &str) {
        let image = json!({"id": id, "node_definition_id": node_definition, "label": id, "read_only": true,
            "disk_image": format!("{id}.qcow2")});
        self.state().image_definitions.insert(id.to_owned(), image);
    }

    /// The number of requests since the last call that began like this.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.state().log)
    }
}

/// Waits for a change by a request, but not for ever.
fn wait_until(is_so: impl Fn() -> bool) {
    let since = std::time::Instant::now();
    while !is_so() {
        assert!(since.elapsed().as_secs() < 60, "waited for a minute in vain for a request");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
    }
}

/// Node definitions, image definitions, registered files, and the drop folder.
pub type Snapshot =
    (BTreeMap<String, Value>, BTreeMap<String, Value>, BTreeMap<String, (String, Bytes)>, BTreeMap<String, Bytes>);

impl State {
    fn fresh() -> Self {
        Self {
            version: "2.9.0+build.3".to_owned(),
            ready: true,
            free: 50_000_000_000,
            node_definitions: BTreeMap::new(),
            image_definitions: BTreeMap::new(),
            drop_folder: BTreeMap::new(),
            images: BTreeMap::new(),
            labs: Labs::new(),
            takes_files_when_replacing: true,
            keeps_read_only: false,
            admin: Some(true),
            reads_node_definitions_as: None,
            reader: None,
            writer: None,
            log: Vec::new(),
            received: 0,
            tokens: BTreeSet::new(),
            faults: Vec::new(),
            held: 0,
            dripping: 0,
            released: false,
        }
    }

    /// All parts of a node, for a comparison.
    pub fn snapshot(&self) -> Snapshot {
        (self.node_definitions.clone(), self.image_definitions.clone(), self.images.clone(), self.drop_folder.clone())
    }

    /// Replaces its state by this.
    pub fn restore(&mut self, to: &Snapshot) {
        (self.node_definitions, self.image_definitions, self.images, self.drop_folder) = to.clone();
    }

    fn trouble_with(&mut self, request: &str) -> Option<Trouble> {
        let fault = self.faults.iter_mut().find(|fault| fault.times > 0 && request.starts_with(&fault.request))?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times -= 1;
        Some(fault.what.clone())
    }
}

async fn serve(listener: std::net::TcpListener, tls: TlsAcceptor, state: Arc<Mutex<State>>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(|request| answer(request, Arc::clone(&state)));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Ends the connection.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut")
    }
}

impl std::error::Error for Cut {}

type Answer = Response<Full<Bytes>>;

/// An answer, or one whose body does not come at once.
async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Cut> {
    let path = request.uri().path().strip_prefix("/api/v0/").map(str::to_owned);
    let Some(path) = path else { return Ok(refusal(404, "Not Found").map(BodyExt::boxed_unsync)) };
    let path = unescape(&path);
    let line = format!("{} {path}", request.method());
    let trouble = {
        let mut state = state.lock().expect("the state");
        state.log.push(line.clone());
        state.trouble_with(&line)
    };
    let (head, mut body) = request.into_parts();
    match trouble {
        Some(Trouble::Endless(byte)) => return Ok(endless(200, byte)),
        Some(Trouble::EndlessRefusal(byte)) => return Ok(endless(500, byte)),
        Some(Trouble::Drip) => {
            state.lock().expect("the state").dripping += 1;
            return Ok(streamed(stream::repeat(Bytes::from_static(b" ")).then(a_moment_later)));
        }
        Some(Trouble::Silence) => match std::future::pending::<Infallible>().await {},
        Some(Trouble::CutAfter(bytes)) => {
            let mut read = 0;
            while read < bytes {
                let Some(Ok(frame)) = body.frame().await else { break };
                read += frame.data_ref().map_or(0, Bytes::len);
            }
            return Err(Cut);
        }
        _ => {}
    }
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        // The client broke off, so nothing of the request counts.
        Err(_) => return Err(Cut),
    };
    if matches!(trouble, Some(Trouble::Held)) {
        hold(&state).await;
    }
    let result = carry_out(&mut state.lock().expect("the state"), trouble.as_ref(), &head, &path, body);
    if matches!(trouble, Some(Trouble::AnswerHeld)) {
        hold(&state).await;
    }
    result.map(|answer| answer.map(BodyExt::boxed_unsync))
}

fn endless(status: u16, byte: u8) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let mut answer = streamed(stream::repeat(Bytes::from(vec![byte; 64 << 10])));
    *answer.status_mut() = status.try_into().expect("a status");
    answer
}

async fn a_moment_later(piece: Bytes) -> Bytes {
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    piece
}

fn streamed(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    Response::new(StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece)))).boxed_unsync())
}

/// Waits until the test releases the request, or until the client is gone, which drops this future.
async fn hold(state: &Arc<Mutex<State>>) {
    struct Held<'a>(&'a Arc<Mutex<State>>);
    impl Drop for Held<'_> {
        fn drop(&mut self) {
            self.0.lock().expect("the state").held -= 1;
        }
    }
    state.lock().expect("the state").held += 1;
    let _held = Held(state);
    while !state.lock().expect("the state").released {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

fn carry_out(
    state: &mut State,
    trouble: Option<&Trouble>,
    head: &hyper::http::request::Parts,
    path: &str,
    body: Bytes,
) -> Result<Answer, Cut> {
    match trouble {
        Some(Trouble::Status(status, said)) => return Ok(refusal(*status, said)),
        Some(Trouble::Html(status)) => return Ok(page(*status)),
        Some(Trouble::Body(text)) => {
            let answer = Response::builder().header("content-type", "application/json");
            return Ok(answer.body(Full::new(text.clone().into())).expect("an answer"));
        }
        Some(Trouble::Expired) => state.tokens.clear(),
        _ => {}
    }
    let result = state.carry_out(head, path, body);
    if matches!(trouble, Some(Trouble::AnswerLost)) {
        return Err(Cut);
    }
    Ok(result.unwrap_or_else(|(status, said)| refusal(status, &said)))
}

fn page(status: u16) -> Answer {
    let text = "<html><head><title>Gateway of the campus</title></head><body>Please log in.</body></html>";
    let answer = Response::builder().status(status).header("content-type", "text/html; charset=utf-8");
    answer.body(Full::new(text.into())).expect("an answer")
}

fn refusal(status: u16, said: &str) -> Answer {
    let body = json!({"code": status, "description": said}).to_string();
    let answer =
        Response::builder().status(status).header("content-type", "application/json").header("retry-after", "0");
    answer.body(Full::new(body.into())).expect("an answer")
}

fn json_answer(value: &Value) -> Answer {
    let answer = Response::builder().header("content-type", "application/json");
    answer.body(Full::new(value.to_string().into())).expect("an answer")
}

/// Success without a body.
fn no_content() -> Answer {
    Response::builder().status(204).body(Full::new(Bytes::new())).expect("an answer")
}

pub type Refusal = (u16, String);

pub fn no<T>(status: u16, said: impl Into<String>) -> Result<T, Refusal> {
    Err((status, said.into()))
}

fn header<'a>(head: &'a hyper::http::request::Parts, name: &str) -> Option<&'a str> {
    head.headers.get(name).and_then(|value| value.to_str().ok())
}

impl State {
    fn carry_out(&mut self, head: &hyper::http::request::Parts, path: &str, body: Bytes) -> Result<Answer, Refusal> {
        let method = &head.method;
        match (method, path) {
            (&Method::GET, "system_information") => {
                return Ok(json_answer(
                    &json!({"version": self.version, "ready": self.ready, "allow_ssh_pubkey_auth": false}),
                ));
            }
            (&Method::POST, "authenticate") => return self.authenticate(&body),
            _ => {}
        }
        let token = header(head, "authorization").and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default();
        if !self.tokens.contains(token) {
            return no(401, "No authorization token provided or token is not valid.");
        }
        let parts: Vec<&str> = path.split('/').collect();
        let query = head.uri.query().map(unescape).unwrap_or_default();
        if let Some(answer) = self.labs.carry_out(method.as_str(), &parts, &query, &body) {
            return answer.map(|value| if value.is_null() { no_content() } else { json_answer(&value) });
        }
        match (method, parts.as_slice()) {
            (&Method::DELETE, ["logout"]) => Ok(json_answer(&json!(self.tokens.remove(token)))),
            (&Method::GET, ["authok"]) => Ok(json_answer(&json!("OK"))),
            (&Method::GET, ["authentication"]) => match self.admin {
                Some(admin) => Ok(json_answer(&json!({"id": "u0", "username": USER, "admin": admin}))),
                None => no(404, "Not Found"),
            },
            (&Method::GET, ["system_stats"]) => {
                let disk = json!({"total": 100_000_000_000_u64, "free": self.free, "used": 1});
                Ok(json_answer(&json!({"computes": {}, "all": {"disk": disk}, "controller": {"disk": disk}})))
            }
            _ => self.answer_on_nodes(head, &parts, &body),
        }
    }

    /// Answers requests about definitions, images and the drop folder.
    fn answer_on_nodes(
        &mut self,
        head: &hyper::http::request::Parts,
        path: &[&str],
        body: &Bytes,
    ) -> Result<Answer, Refusal> {
        let method = &head.method;
        match (method, path) {
            (&Method::GET, ["node_definitions"]) => {
                Ok(json_answer(&json!(self.node_definitions.values().collect::<Vec<_>>())))
            }
            (&Method::GET, ["image_definitions"]) => {
                Ok(json_answer(&json!(self.image_definitions.values().collect::<Vec<_>>())))
            }
            (&Method::GET, ["node_definitions", id, "image_definitions"]) => {
                let of = self.image_definitions.values().filter(|image| image["node_definition_id"] == **id);
                Ok(json_answer(&json!(of.collect::<Vec<_>>())))
            }
            (&Method::GET, ["node_definitions", id]) => match self.node_definitions.get(*id) {
                // serde_yaml leaves `yes` unquoted, which PyYAML does not. JSON is YAML too.
                Some(definition) if self.reads_node_definitions_as.is_some() => Ok(json_answer(definition)),
                definition => self.yaml_answer(definition, "Node", id),
            },
            (&Method::GET, ["image_definitions", id]) => self.yaml_answer(self.image_definitions.get(*id), "Image", id),
            (&Method::POST | &Method::PUT, ["node_definitions"]) => {
                self.write_node_definition(body, method == Method::PUT)
            }
            (&Method::POST | &Method::PUT, ["image_definitions"]) => {
                self.write_image_definition(body, method == Method::PUT)
            }
            (&Method::PUT, ["node_definitions", id, "read_only"]) => self.set_read_only(id, body, true),
            (&Method::PUT, ["image_definitions", id, "read_only"]) => self.set_read_only(id, body, false),
            (&Method::DELETE, ["node_definitions", id]) => self.delete_node_definition(id),
            (&Method::DELETE, ["image_definitions", id]) => self.delete_image_definition(id),
            (&Method::POST, ["images", "upload"]) => {
                let header = |name: &str| header(head, name).map(str::to_owned);
                self.upload(header("x-original-file-name"), &header("content-type").unwrap_or_default(), body)
            }
            (&Method::GET, ["list_image_definition_drop_folder"]) => {
                Ok(json_answer(&json!(self.drop_folder.keys().collect::<Vec<_>>())))
            }
            (&Method::DELETE, ["images", "manage", file]) => match self.drop_folder.remove(*file) {
                Some(_) => Ok(json_answer(&json!("Success"))),
                None => no(404, format!("File not found: {file}")),
            },
            _ => no(404, format!("no such endpoint: {method} {}", path.join("/"))),
        }
    }

    fn authenticate(&mut self, body: &[u8]) -> Result<Answer, Refusal> {
        let login: Value = serde_json::from_slice(body).map_err(|_| (400, "not JSON".to_owned()))?;
        if login["username"] != USER || login["password"] != PASSWORD {
            // As careless as real servers: it repeats what it was sent.
            return no(403, format!("Authentication failed for {login}"));
        }
        let token = format!("header{}.payload.signature", self.tokens.len() + self.log.len());
        self.tokens.insert(token.clone());
        Ok(json_answer(&json!(token)))
    }

    fn write_node_definition(&mut self, body: &[u8], replace: bool) -> Result<Answer, Refusal> {
        self.check_is_administrator()?;
        let mut definition = match (&self.reads_node_definitions_as, &self.reader) {
            (Some(definition), _) => definition.clone(),
            (None, Some(reader)) => reader(true, body).map_err(|why| (400, why))?,
            (None, None) => check_node_definition(body)?,
        };
        let id = text(&definition, "id")?;
        let there = self.node_definitions.get(&id);
        check_existence("Node", &id, there.is_some(), replace)?;
        if there.is_some_and(|there| there["general"]["read_only"] == true) {
            return no(403, format!("Node definition {id} is read-only."));
        }
        if self.keeps_read_only {
            definition["general"]["read_only"] =
                there.is_some_and(|there| there["general"]["read_only"] == true).into();
        }
        self.node_definitions.insert(id, definition);
        Ok(json_answer(&json!("Success")))
    }

    fn write_image_definition(&mut self, body: &[u8], replace: bool) -> Result<Answer, Refusal> {
        self.check_is_administrator()?;
        let mut definition = match &self.reader {
            Some(reader) => reader(false, body).map_err(|why| (400, why))?,
            None => check_image_definition(body)?,
        };
        if self.version.starts_with("2.9.") && self.reader.is_none() && definition.get("docker_tag").is_some() {
            return no(400, "Schema validation failed: unknown key `docker_tag`");
        }
        let (id, node) = (text(&definition, "id")?, text(&definition, "node_definition_id")?);
        let there = self.image_definitions.get(&id);
        check_existence("Image", &id, there.is_some(), replace)?;
        if there.is_some_and(|there| there["read_only"] == true) {
            return no(403, format!("Image definition {id} is read-only."));
        }
        if self.keeps_read_only {
            definition["read_only"] = there.is_some_and(|there| there["read_only"] == true).into();
        }
        if !self.node_definitions.contains_key(&node) {
            return no(400, format!("Node definition not found: {node}"));
        }
        let disk = text(&definition, "disk_image")?;
        let may_take = !replace || self.takes_files_when_replacing;
        let has_it = self.images.get(&id).is_some_and(|(name, _)| *name == disk);
        match self.drop_folder.get(&disk).cloned() {
            Some(file) if may_take => {
                self.drop_folder.remove(&disk);
                self.images.insert(id.clone(), (disk, file));
            }
            _ if has_it => {}
            _ => return no(400, format!("Image file not found in the drop folder: {disk}")),
        }
        self.image_definitions.insert(id, definition);
        Ok(json_answer(&json!("Success")))
    }

    fn check_is_administrator(&self) -> Result<(), Refusal> {
        if self.admin == Some(false) { no(403, "User does not have required access.") } else { Ok(()) }
    }

    fn yaml_answer(&self, definition: Option<&Value>, kind: &str, id: &str) -> Result<Answer, Refusal> {
        let Some(definition) = definition else { return no(404, format!("{kind} definition not found: {id}")) };
        let text = match self.writer {
            Some(write) => write(definition),
            None => serde_yaml::to_string(definition).expect("YAML"),
        };
        let answer = Response::builder().header("content-type", "application/x-yaml");
        Ok(answer.body(Full::new(text.into())).expect("an answer"))
    }

    fn set_read_only(&mut self, id: &str, body: &[u8], node: bool) -> Result<Answer, Refusal> {
        let value: bool = serde_json::from_slice(body).map_err(|_| (400, "true or false".to_owned()))?;
        let definitions = if node { &mut self.node_definitions } else { &mut self.image_definitions };
        let Some(definition) = definitions.get_mut(id) else { return no(404, format!("not found: {id}")) };
        if node {
            definition["general"]["read_only"] = value.into();
        } else {
            definition["read_only"] = value.into();
        }
        Ok(json_answer(definition))
    }

    fn is_used(&self, key: &str, id: &str) -> bool {
        self.labs.uses(key, id)
    }

    fn delete_node_definition(&mut self, id: &str) -> Result<Answer, Refusal> {
        let Some(there) = self.node_definitions.get(id) else {
            return no(404, format!("Node definition not found: {id}"));
        };
        if there["general"]["read_only"] == true {
            return no(403, format!("Node definition {id} is read-only."));
        }
        if self.is_used("node_definition", id) {
            return no(403, format!("Node definition {id} is in use."));
        }
        if self.image_definitions.values().any(|image| image["node_definition_id"] == id) {
            return no(400, format!("Node definition {id} has image definitions."));
        }
        self.node_definitions.remove(id);
        Ok(json_answer(&json!("Success")))
    }

    fn delete_image_definition(&mut self, id: &str) -> Result<Answer, Refusal> {
        let Some(there) = self.image_definitions.get(id) else {
            return no(404, format!("Image definition not found: {id}"));
        };
        if there["read_only"] == true {
            return no(403, format!("Image definition {id} is read-only."));
        }
        if self.labs.uses_image(id, there["node_definition_id"].as_str().unwrap_or_default()) {
            return no(403, format!("Image definition {id} is in use."));
        }
        self.image_definitions.remove(id);
        self.images.remove(id);
        Ok(json_answer(&json!("Success")))
    }

    fn upload(&mut self, name: Option<String>, kind: &str, body: &Bytes) -> Result<Answer, Refusal> {
        let Some(name) = name else { return no(400, "X-Original-File-Name is missing") };
        if ![".qcow", ".qcow2", ".iol", ".tar", ".tar.gz"].iter().any(|end| name.ends_with(end)) || name.contains('/') {
            return no(400, format!("unsupported file: {name}"));
        }
        let Some(file) = only_part(kind, body) else { return no(400, "the form must have one part, field0") };
        self.received += file.len() as u64;
        if self.drop_folder.contains_key(&name) {
            return no(400, format!("{name} exists already"));
        }
        self.drop_folder.insert(name, file);
        Ok(json_answer(&json!("Success")))
    }
}

fn check_existence(kind: &str, id: &str, there: bool, replace: bool) -> Result<(), Refusal> {
    match (there, replace) {
        (true, false) => no(400, format!("{kind} definition already exists: {id}")),
        (false, true) => no(404, format!("{kind} definition not found: {id}")),
        _ => Ok(()),
    }
}

fn text(definition: &Value, key: &str) -> Result<String, Refusal> {
    definition[key].as_str().map_or_else(|| no(400, format!("`{key}` must be a string")), |text| Ok(text.to_owned()))
}

fn read(body: &[u8], allowed: &[&str], required: &[&str]) -> Result<Value, Refusal> {
    let yaml: serde_yaml::Value = serde_yaml::from_slice(body).map_err(|error| (400, format!("not YAML: {error}")))?;
    let definition = serde_json::to_value(yaml).map_err(|error| (400, error.to_string()))?;
    let Some(map) = definition.as_object() else { return no(400, "not a mapping") };
    if let Some(unknown) = map.keys().find(|key| !allowed.contains(&key.as_str()) && !required.contains(&key.as_str()))
    {
        return no(400, format!("Schema validation failed: unknown key `{unknown}`"));
    }
    if let Some(missing) = required.iter().find(|key| !map.contains_key(**key)) {
        return no(400, format!("Schema validation failed: `{missing}` is missing"));
    }
    let id = definition["id"].as_str().unwrap_or_default();
    let forbidden = |c: char| "!@#%^&*();$/\\`\t\n".contains(c);
    if id.is_empty() || id.len() > 250 || id.starts_with('.') || id.contains(forbidden) {
        return no(400, format!("Schema validation failed: `id` is `{id}`"));
    }
    Ok(definition)
}

/// A part of the schema, enough to refuse what is not a definition. Other tests cover the whole schema.
fn check_node_definition(body: &[u8]) -> Result<Value, Refusal> {
    let required = ["id", "boot", "sim", "general", "configuration", "device", "ui"];
    let mut definition = read(body, &["inherited", "pyats", "schema_version", "image_definitions"], &required)?;
    for place in
        ["/boot/timeout", "/sim/linux_native/driver", "/general/nature", "/device/interfaces/physical", "/ui/visible"]
    {
        if definition.pointer(place).is_none() {
            return no(400, format!("Schema validation failed: `{place}` is missing"));
        }
    }
    // It returns definitions with its defaults filled in.
    if definition["general"].get("read_only").is_none() {
        definition["general"]["read_only"] = false.into();
    }
    definition["image_definitions"] = json!([]);
    Ok(definition)
}

fn check_image_definition(body: &[u8]) -> Result<Value, Refusal> {
    let optional = [
        "description", "schema_version", "read_only", "efi_boot", "configuration", "pyats", "ram", "cpus", "cpu_limit",
        "data_volume", "boot_disk_size", "disk_image", "disk_image_2", "disk_image_3", "disk_image_4", "docker_tag",
        "sha256",
    ];
    let mut definition = read(body, &optional, &["id", "node_definition_id", "label"])?;
    let digest = definition["sha256"].as_str();
    if digest.is_some_and(|digest| digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit())) {
        return no(400, "Schema validation failed: `sha256`");
    }
    if definition.get("read_only").is_none() {
        definition["read_only"] = false.into();
    }
    definition["pyats"] = Value::Null;
    Ok(definition)
}

/// The content of a form's part `field0`, if it is the only one.
fn only_part(kind: &str, body: &Bytes) -> Option<Bytes> {
    let boundary = kind.split("boundary=").nth(1)?.trim_matches('"');
    let (start, end) = (format!("--{boundary}\r\n"), format!("\r\n--{boundary}--\r\n"));
    let inner = body.strip_prefix(start.as_bytes())?.strip_suffix(end.as_bytes())?;
    let gap = inner.windows(4).take(4096).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&inner[..gap]).to_ascii_lowercase();
    let from = start.len() + gap + 4;
    head.contains("name=\"field0\"").then(|| body.slice(from..body.len() - end.len()))
}

fn unescape(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next(), rest.next()].map(|digit| char::from(digit.unwrap_or(b'0')));
            bytes.push(u8::from_str_radix(&digits.iter().collect::<String>(), 16).unwrap_or(b'?'));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
