//! Which certificate of a controller is accepted: decided before anything secret is sent.

use anyhow::{Result, bail, ensure};

use crate::api::trust::Trust;
use crate::known;
use crate::{Access, Fingerprint};

const COMPARE: &str = "To print the true one, run this on the server: \
                       openssl s_client -connect localhost:443 </dev/null | openssl x509 -noout -fingerprint -sha256";

/// What to accept of `server` (`HOST:PORT`) before it has shown a certificate.
pub fn trust_in(access: &Access, server: &str) -> Result<Trust> {
    if access.insecure {
        access.warn_insecure(server);
        return Ok(Trust::Any);
    }
    let pinned = match &access.fingerprint {
        Some(fingerprint) => Some(fingerprint.clone()),
        None => known::pinned(&access.state_folder, server)?,
    };
    Ok(pinned.map_or(Trust::Authorities, Trust::Pinned))
}

/// Pins the certificate that the server has shown.
pub async fn remember(access: &Access, server: &str, seen: &Fingerprint) -> Result<()> {
    if known::pinned(&access.state_folder, server)?.as_ref() != Some(seen) {
        let path = known::pin(&access.state_folder, server, seen).await?;
        access.ui.note(format_args!("the certificate of {server} is pinned in {}", path.display()));
    }
    Ok(())
}

/// Shows a certificate that no known authority has signed, and pins it if the user accepts it.
pub async fn ask(access: &Access, server: &str, fingerprint: &Fingerprint, why: &str) -> Result<()> {
    let _prompt = access.prompt.lock().await;
    access.ui.note(format_args!(
        "{server}: its certificate is not signed by an authority that this machine knows ({why})\n  \
         SHA-256 fingerprint {fingerprint}\n  {COMPARE}"
    ));
    if !access.ui.can_ask() {
        bail!(
            "the certificate of {server} is not trusted\n\
             If the fingerprint above is the server's, pass it once: --fingerprint {fingerprint}\n\
             Or name the authority that signed the certificate: CA_BUNDLE=FILE"
        );
    }
    ensure!(
        access.ui.ask("Is this the server's fingerprint, and should it be remembered?").await?,
        "the certificate of {server} is not trusted"
    );
    remember(access, server, fingerprint).await
}

/// The error for a server that does not show the certificate that it must show.
pub fn changed(access: &Access, server: &str, pinned: &Fingerprint, seen: &Fingerprint) -> anyhow::Error {
    let (which, otherwise) = match &access.fingerprint {
        Some(_) => ("the one that --fingerprint names", String::new()),
        None => ("the one that is pinned for it", known::how_to_forget(&access.state_folder, server)),
    };
    anyhow::anyhow!(
        "the certificate of {server} is not {which}, so nothing was sent\n  \
         pinned {pinned}\n  \
         shown  {seen}\n\
         Either the server has a new certificate, or this is not the server. {COMPARE}\n\
         If that prints the fingerprint that is shown, pass it once: --fingerprint {seen}{otherwise}"
    )
}
