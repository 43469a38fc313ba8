//! The console's certificate. The problem: it is replaced every few weeks by something that knows nothing of this
//! process, certificate and key one after the other; connections go on, and a wrong file must not cost the good one. So
//! both files are watched, read together, and taken over only if they fit each other.

use super::entrance::TlsFiles;
use notify::{RecursiveMode, Watcher as _};
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};

/// A writer of two files is done when nothing more comes for so long.
const QUIET: Duration = Duration::from_millis(300);
/// Where nothing tells of changes (a network's file system) they are seen after so long.
const ANYWAY: Duration = Duration::from_secs(60);

/// The certificate in force.
#[derive(Debug)]
pub struct Certificate {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    now: RwLock<Loaded>,
}

/// What was read, and what it is.
#[derive(Clone, Debug)]
struct Loaded {
    texts: (Vec<u8>, Vec<u8>),
    key: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now.read().unwrap_or_else(PoisonError::into_inner).key.clone())
    }
}

fn texts(files: &TlsFiles) -> Result<(Vec<u8>, Vec<u8>), String> {
    let read = |file: &Path| std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()));
    Ok((read(&files.certificate)?, read(&files.key)?))
}

fn parse(files: &TlsFiles, texts: &(Vec<u8>, Vec<u8>), provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&texts.0).collect();
    let chain = chain.map_err(|e| format!("{certificate}: {e}"))?;
    if chain.is_empty() {
        return Err(format!("{certificate} holds no certificate"));
    }
    let parsed = PrivateKeyDer::from_pem_slice(&texts.1).map_err(|e| format!("{key}: {e}"))?;
    CertifiedKey::from_der(chain, parsed, provider).map_err(|e| format!("{certificate} and {key}: {e}"))
}

impl Certificate {
    /// # Errors
    /// A file can't be read, is none, or the two don't fit each other.
    pub fn load(files: TlsFiles) -> Result<Arc<Self>, String> {
        let provider = Arc::new(ring::default_provider());
        let texts = texts(&files)?;
        let key = Arc::new(parse(&files, &texts, &provider)?);
        Ok(Arc::new(Self { files, provider, now: RwLock::new(Loaded { texts, key }) }))
    }

    /// # Errors
    /// The library knows none of its own versions.
    pub fn config(self: &Arc<Self>) -> Result<ServerConfig, String> {
        let builder = ServerConfig::builder_with_provider(self.provider.clone());
        let builder = builder.with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
        Ok(builder.with_no_client_auth().with_cert_resolver(self.clone()))
    }

    /// Reads the files again; whether they were other ones.
    ///
    /// # Errors
    /// They are wrong; what was in force stays.
    fn reload(&self) -> Result<bool, String> {
        let texts = texts(&self.files)?;
        if self.now.read().unwrap_or_else(PoisonError::into_inner).texts == texts {
            return Ok(false);
        }
        let key = Arc::new(parse(&self.files, &texts, &self.provider)?);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Loaded { texts, key };
        Ok(true)
    }

    /// Takes over what the files become. Runs until it is dropped.
    pub async fn watch(self: Arc<Self>) {
        let changed = Arc::new(Notify::new());
        // Kept: a watcher that is dropped watches no longer.
        let _watcher = self.watcher(changed.clone());
        let mut told: Option<String> = None;
        loop {
            // Whether something told of it or the time is up: looking is cheap.
            let _ = timeout(ANYWAY, changed.notified()).await;
            while timeout(QUIET, changed.notified()).await.is_ok() {}
            match self.reload() {
                Ok(false) => {}
                Ok(true) => {
                    told = None;
                    slog_scope::info!("the certificate was taken over"; "file" => %self.files.certificate.display());
                }
                Err(reason) if told.as_ref() == Some(&reason) => {}
                Err(reason) => {
                    slog_scope::error!("the new certificate is refused, the old one stays"; "reason" => &reason);
                    told = Some(reason);
                }
            }
        }
    }

    fn watcher(&self, changed: Arc<Notify>) -> Option<notify::RecommendedWatcher> {
        let tell = move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|event| event.kind.is_access()) {
                changed.notify_one();
            }
        };
        let watch = || {
            let mut watcher = notify::recommended_watcher(tell)?;
            for file in [&self.files.certificate, &self.files.key] {
                // The folder: a file that is replaced is another file.
                let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
                watcher.watch(folder, RecursiveMode::NonRecursive)?;
            }
            notify::Result::Ok(watcher)
        };
        watch().inspect_err(|e| slog_scope::warn!("a new certificate is seen after a minute only"; "reason" => %e)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, process::Command};

    /// A certificate of its own for `name`.
    fn make(files: &TlsFiles, name: &str) {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
            .args(["-subj", &format!("/CN={name}"), "-keyout"])
            .arg(&files.key)
            .arg("-out")
            .arg(&files.certificate)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    fn files(dir: &tempfile::TempDir) -> TlsFiles {
        TlsFiles { certificate: dir.path().join("cert.pem"), key: dir.path().join("key.pem") }
    }

    fn leaf(certificate: &Certificate) -> Vec<u8> {
        certificate.now.read().unwrap().key.cert[0].to_vec()
    }

    #[test]
    fn files_that_are_wrong_or_do_not_fit_are_refused_and_the_old_ones_stay() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (good, others) = (files(&dir), files(&other));
        assert!(Certificate::load(good.clone()).unwrap_err().contains("cert.pem"));
        make(&good, "one");
        make(&others, "two");
        let certificate = Certificate::load(good.clone()).unwrap();
        certificate.config().unwrap();
        let before = leaf(&certificate);
        assert_eq!(certificate.reload(), Ok(false));
        fs::copy(&others.certificate, &good.certificate).unwrap();
        let reason = certificate.reload().unwrap_err();
        assert!(reason.contains("key.pem"), "the key of another: {reason}");
        fs::write(&good.certificate, "no PEM").unwrap();
        assert!(certificate.reload().unwrap_err().contains("holds no certificate"));
        assert_eq!(leaf(&certificate), before);
        fs::copy(&others.certificate, &good.certificate).unwrap();
        fs::copy(&others.key, &good.key).unwrap();
        assert_eq!(certificate.reload(), Ok(true));
        assert_ne!(leaf(&certificate), before);
    }
}
