//! A client of CML's REST API: connecting, logging in, and requests with their retries. [docs/cml.md 2]
//!
//! The calls themselves are in `definitions` and `labs`.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use hyper::Method;
use hyper::http::HeaderValue;
use hyper::http::request::Builder;
use indicatif::ProgressBar;
use retry::Retry;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use crate::api::first_contact;
use crate::api::http::{self, Answer, Expected, RequestBody, RequestError, Server, authority};
use crate::api::proxy::Proxy;
use crate::api::refusal::{self, Refused};
use crate::api::trust::{PinningVerifier, Trust};
use crate::remote_text::excerpt;
use crate::version::{self, SystemInformation};
use crate::{Access, Address, ArchiveFile, Secret};

/// How often a request is sent again to a server that is too busy to answer it.
const RETRIES: u32 = 3;

const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause, even if `Retry-After` asks for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

const LOGOUT_TIMEOUT: Duration = Duration::from_secs(5);

const BOUNDARY: &str = "cml-nodes-7d1c5b1e4a3f49b2";

/// A controller that answered, and whose certificate is accepted.
pub struct Controller<'a> {
    pub access: &'a Access,
    pub address: Address,
    server: Server,
    base: String,
    pub version: String,
    pub ready: bool,
    token: Mutex<Option<Secret>>,
}

/// What CML says about the user who is logged in. [docs/cml.md 2]
#[derive(Deserialize)]
struct UserInformation {
    username: Option<String>,
    /// Unknown if it is not there.
    admin: Option<bool>,
}

/// What is asked for, below `/api/v0/`.
pub(super) struct Request<'a> {
    pub method: Method,
    pub path: &'a str,
    pub expected: Expected,
}

const INFORMATION: Request<'_> =
    Request { method: Method::GET, path: "system_information", expected: Expected::Little };

impl<'a> Request<'a> {
    fn little(method: Method, path: &'a str) -> Self {
        Self { method, path, expected: Expected::Little }
    }
}

/// What is sent with a request. It can be sent again.
pub(super) enum Content<'a> {
    Nothing,
    Json(String),
    Yaml(&'a str),
    File(&'a ArchiveFile, &'a ProgressBar),
}

impl<'a> Controller<'a> {
    /// Connects, without sending any secret.
    pub async fn open(access: &'a Access, address: &Address) -> Result<Self> {
        let authority = authority(address);
        let mut trust = first_contact::trust_in(access, &authority)?;
        loop {
            let mut controller = Self::at(access, address, trust.clone())?;
            match controller.exchange(&INFORMATION, &Content::Nothing, None).await {
                Ok(answer) => {
                    controller.read_information(answer).await?;
                    if let (Some(seen), true) = (controller.server.verifier.seen(), access.fingerprint.is_some()) {
                        first_contact::remember(access, &authority, &seen).await?;
                    }
                    return Ok(controller);
                }
                Err(RequestError::Untrusted { fingerprint, why, .. }) => {
                    if let Trust::Pinned(pinned) = &trust {
                        return Err(first_contact::changed(access, &authority, pinned, &fingerprint));
                    }
                    first_contact::ask(access, &authority, &fingerprint, &why).await?;
                    trust = Trust::Pinned(fingerprint);
                }
                Err(error @ RequestError::Failed(_)) => return Err(error).context("asking for its version failed"),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn at(access: &'a Access, address: &Address, trust: Trust) -> Result<Self> {
        let server = Server {
            address: address.clone(),
            proxy: Proxy::for_server(&authority(address))?,
            verifier: PinningVerifier::new(trust, access.settings.authorities.as_deref())?,
            idle_timeout: access.idle_timeout,
        };
        Ok(Self {
            access,
            address: address.clone(),
            server,
            base: format!("{}/api/v0/", path_before_api(address)),
            version: String::new(),
            ready: false,
            token: Mutex::new(access.settings.token.clone()),
        })
    }

    async fn read_information(&mut self, answer: Answer) -> Result<()> {
        let what = "asking for its version";
        if answer.is_html || !is_success(&answer) {
            let (at, status, title) = (&self.address, answer.status, refusal::title(&answer.body));
            let advice = match path_before_api(&self.address) {
                "" => "is this a CML controller?".to_owned(),
                path => format!("is CML below `{path}` there? A page's path in the browser is no part of the address"),
            };
            bail!("{what}: {at} answered ({status}): {title}; {advice}");
        }
        let information: SystemInformation = self.json(answer, what).await.context("is this a CML controller?")?;
        let version = information.version.context("it does not give its version; is it a CML controller?")?;
        (self.version, self.ready) = (excerpt(&version, 40), information.ready);
        Ok(())
    }

    /// Fails if nothing can be installed there: it is too old, or still starting.
    pub fn check_usable(&self) -> Result<()> {
        version::check(&self.address, Some(&self.version))?;
        let at = &self.address;
        anyhow::ensure!(self.ready, "{at} is not ready yet: CML is still starting; try again in a minute");
        Ok(())
    }

    /// Logs in now, so that a wrong password is found before anything has changed.
    pub async fn log_in(&self) -> Result<()> {
        self.token(None).await.map(drop)
    }

    /// Fails for a user who is known not to be an administrator: only administrators change definitions.
    /// [docs/cml.md 2]
    pub async fn check_administrator(&self) -> Result<()> {
        let user: Option<UserInformation> =
            self.find("authentication", Expected::Little, "asking who is logged in").await?;
        let Some(UserInformation { username, admin: Some(false) }) = user else { return Ok(()) };
        let (name, at) = (excerpt(&username.unwrap_or_default(), 64), &self.address);
        bail!(
            "`{name}` is not an administrator of {at}, and CML lets only administrators change node and image \
             definitions; nothing was sent\n\
             Log in as an administrator (VIRL2_USER, VIRL2_PASS), or upload by ssh: --via ssh"
        );
    }

    /// Ends the session, unless the token came from the settings. Without an answer the session expires later.
    pub async fn log_out(&self) {
        let token = self.token.lock().await.take();
        let Some(token) = token.filter(|token| self.access.settings.token.as_ref() != Some(token)) else { return };
        let _hold = self.access.ui.interrupt().hold();
        let request = Request::little(Method::DELETE, "logout");
        let logout = self.exchange(&request, &Content::Nothing, Some(&token));
        let _ = tokio::time::timeout(LOGOUT_TIMEOUT, logout).await;
    }

    /// The token; a new one if the present one is `expired`.
    async fn token(&self, expired: Option<&Secret>) -> Result<Secret> {
        let mut token = self.token.lock().await;
        if let Some(known) = token.as_ref().filter(|known| expired != Some(known)) {
            return Ok(known.clone());
        }
        let (user, password) = self.access.credentials(self.address.user.as_deref(), &self.address.to_string()).await?;
        let body = serde_json::json!({"username": user, "password": password.reveal()}).to_string();
        let request = Request::little(Method::POST, "authenticate");
        let answer = self.send(&request, &Content::Json(body), None).await.context("logging in failed")?;
        if matches!(answer.status, 401 | 403) {
            bail!("{} does not accept the password of `{user}` (VIRL2_USER, VIRL2_PASS)", self.address);
        }
        // As text: a refusal of the login says nothing about what the caller asks for.
        let answer = self.accepted(answer, "logging in", &password).map_err(|error| anyhow!("{error:#}"))?;
        let new = serde_json::from_slice::<String>(&answer.body).map(Secret::new);
        let new = new.map_err(|_| anyhow!("{} answered a login without a token", self.address))?;
        *token = Some(new.clone());
        Ok(new)
    }

    /// Sends a request with the token, and again with a new one if that has expired.
    pub(super) async fn call(&self, request: Request<'_>, content: Content<'_>, what: &str) -> Result<Answer> {
        let mut token = self.token(None).await?;
        let mut answer = self.send(&request, &content, Some(&token)).await;
        if answer.as_ref().is_ok_and(|answer| answer.status == 401) {
            let why = match &self.access.settings.token {
                Some(given) if *given == token => "the token is not accepted (VIRL2_JWT); logging in",
                _ => "the session has expired; logging in again",
            };
            self.access.ui.note(format_args!("{}: {why}", self.address));
            token = self.token(Some(&token)).await?;
            answer = self.send(&request, &content, Some(&token)).await;
        }
        let answer = answer.with_context(|| format!("{what} failed"))?;
        self.accepted(answer, what, &token)
    }

    /// A call for something that changes, without what the controller answers.
    pub(super) async fn change(&self, method: Method, path: &str, content: Content<'_>, what: &str) -> Result<()> {
        self.call(Request::little(method, path), content, what).await.map(drop)
    }

    pub(super) async fn get<T>(&self, path: &str, expected: Expected, what: &str) -> Result<T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let request = Request { method: Method::GET, path, expected };
        self.json(self.call(request, Content::Nothing, what).await?, what).await
    }

    /// The same; nothing if there is no such thing.
    pub(super) async fn find<T>(&self, path: &str, expected: Expected, what: &str) -> Result<Option<T>>
    where
        T: DeserializeOwned + Send + 'static,
    {
        refusal::if_present(self.get(path, expected, what).await)
    }

    /// Reads an answer, on a thread of its own: a large one takes time.
    pub(super) async fn json<T>(&self, answer: Answer, what: &str) -> Result<T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let reading = tokio::task::spawn_blocking(move || serde_json::from_slice(&answer.body));
        let read = reading.await.context("reading an answer")?;
        read.map_err(|error| anyhow!("{what}: cannot read the answer of {}: {error}", self.address))
    }

    /// Sends a request, and again while the server is too busy. A request that may have been carried out is repeated
    /// only if that does no harm.
    async fn send(&self, request: &Request<'_>, content: &Content<'_>, token: Option<&Secret>) -> Result<Answer> {
        let is_repeatable = matches!(request.method, Method::GET | Method::PUT);
        let mut retry = Retry::times(RETRIES, FIRST_PAUSE).growing_to(LONGEST_PAUSE);
        loop {
            let result = self.exchange(request, content, token).await;
            let busy = self.why_again(&result, is_repeatable).filter(|_| !retry.is_exhausted());
            let Some((why, wanted)) = busy else { return Ok(result?) };
            self.access.ui.note(format_args!("{why}; trying again"));
            match wanted {
                Some(pause) => retry.pause_for(pause.min(LONGEST_PAUSE)).await,
                None => retry.pause().await,
            };
        }
    }

    async fn exchange(
        &self,
        Request { method, path, expected }: &Request<'_>,
        content: &Content<'_>,
        token: Option<&Secret>,
    ) -> Result<Answer, RequestError> {
        self.access.ui.command(format_args!("{method} https://{}{}{path}", self.address, self.base));
        let mut head = hyper::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("host", self.address.to_string());
        if let Some(token) = token {
            head = head.header("authorization", bearer(token)?);
        }
        let mut counter = &ProgressBar::hidden();
        let (head, body) = match content {
            Content::Nothing => (head, http::text("")),
            Content::Json(text) => (head.header("content-type", "application/json"), http::text(text)),
            // Without a type, as CML's own client sends it: the controller looks at the text itself.
            Content::Yaml(text) => (head, http::text(text)),
            Content::File(archive, progress) => {
                progress.reset();
                counter = progress;
                multipart(head, archive, progress)
            }
        };
        self.server.request(head, body, *expected, counter).await
    }

    /// Why a request should be sent again, and the pause that the server asks for; nothing if it should not.
    fn why_again(
        &self,
        result: &Result<Answer, RequestError>,
        is_repeatable: bool,
    ) -> Option<(String, Option<Duration>)> {
        match result {
            Ok(answer) if answer.status == 429 || (is_repeatable && matches!(answer.status, 502..=504)) => {
                let pause = answer.retry_after.filter(|_| answer.status == 429).map(Duration::from_secs);
                Some((format!("{}: the server is busy ({})", self.address, answer.status), pause))
            }
            Err(RequestError::Unreachable(why)) if is_repeatable => Some((why.clone(), None)),
            _ => None,
        }
    }

    /// The answer, if it is a success. `secret` was sent with the request: what the server says of it is not shown.
    fn accepted(&self, answer: Answer, what: &str, secret: &Secret) -> Result<Answer> {
        if is_success(&answer) && !answer.is_html {
            return Ok(answer);
        }
        let (at, status) = (&self.address, answer.status);
        let hide = |text: &str| {
            let secrets = [Some(secret), self.access.settings.password.as_ref()];
            secrets.into_iter().flatten().fold(text.to_owned(), |text, secret| secret.redact(&text))
        };
        // Before it is shortened, which might leave half of a secret.
        let body = hide(&String::from_utf8_lossy(&answer.body));
        if answer.is_html {
            let title = refusal::title(body.as_bytes());
            bail!(
                "{what}: {at} answered ({status}) with a web page instead of CML's API: {title}; \
                 is there a proxy in between, or is the address wrong?"
            );
        }
        // Once more, since JSON may have written it with escapes.
        let (request, reason) = (format!("{at}: {what}"), hide(&refusal::reason(body.as_bytes())));
        Err(Refused { status, reason, request }.into())
    }
}

/// What stands before `/api/v0` in the paths of requests: an address may be given with or without that.
fn path_before_api(address: &Address) -> &str {
    let path = address.path.as_deref().unwrap_or_default().trim_end_matches('/');
    path.strip_suffix("/api/v0").unwrap_or(path).trim_end_matches('/')
}

/// The header of a token, which does not print itself.
fn bearer(token: &Secret) -> Result<HeaderValue, RequestError> {
    let value = HeaderValue::try_from(format!("Bearer {}", token.reveal()));
    let mut value =
        value.map_err(|_| RequestError::Failed("the token (VIRL2_JWT) is not one line of text".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_success(answer: &Answer) -> bool {
    (200..300).contains(&answer.status)
}

/// The archive as the only part, `field0`, of a form. The form is complete only if the file is still the saved one.
fn multipart(request: Builder, archive: &ArchiveFile, progress: &ProgressBar) -> (Builder, RequestBody) {
    let name = archive.name.replace(['"', '\r', '\n'], "_");
    let head = Bytes::from(format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"field0\"; filename=\"{name}\"\r\n\
         Content-Type: application/gzip\r\n\r\n"
    ));
    let tail = Bytes::from(format!("\r\n--{BOUNDARY}--\r\n"));
    let request = request
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))
        .header("content-length", (head.len() + tail.len()) as u64 + archive.size)
        .header("x-original-file-name", &archive.name);
    (request, http::pieces(archive.stream(0, Sha256::new(), head, tail), progress))
}
