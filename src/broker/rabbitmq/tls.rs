//! Certificates for `amqps://`: read anew for each connection, so that renewed ones are used without a restart, and what to do
//! when the two sides do not accept each other. The server's certificate is always verified; there is no switch for it.

use std::path::{Path, PathBuf};

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};

use super::RabbitError;
use crate::tls::{Trouble, trouble};

/// Largest file that is read: the authorities of a whole system are some 200 KB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Files in PEM form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Authorities beside those of the system (setting `amqp.ca_file`).
    pub ca_file: Option<PathBuf>,
    /// The client's certificate and its key (settings `amqp.client_cert_file`, `amqp.client_key_file`).
    pub client_files: Option<(PathBuf, PathBuf)>,
}

impl Certificates {
    /// As lapin takes them.
    pub(super) async fn read(&self) -> Result<OwnedTLSConfig, RabbitError> {
        let cert_chain = match &self.ca_file {
            Some(file) => Some(read("amqp.ca_file", file, "CERTIFICATE").await?),
            None => None,
        };
        let identity = match &self.client_files {
            Some((cert, key)) => Some(OwnedIdentity::PKCS8 {
                pem: read("amqp.client_cert_file", cert, "CERTIFICATE").await?.into_bytes(),
                key: read("amqp.client_key_file", key, "PRIVATE KEY").await?.into_bytes(),
            }),
            None => None,
        };
        Ok(OwnedTLSConfig { identity, cert_chain })
    }
}

/// A PEM file with at least one block of that kind. Its content is never repeated: it may be the key.
async fn read(setting: &str, file: &Path, block: &str) -> Result<String, RabbitError> {
    let refused = |why: String, remedy| RabbitError::Refused {
        action: format!("be reached with {setting} {}", file.display()),
        why,
        remedy,
    };
    let readable = "name a PEM file this process may read";
    let size = tokio::fs::metadata(file).await.map_err(|error| refused(error.to_string(), readable))?.len();
    if size > FILE_BYTES_MAX {
        return Err(refused(format!("it has more than {FILE_BYTES_MAX} bytes"), readable));
    }
    let text = tokio::fs::read_to_string(file).await.map_err(|error| refused(error.to_string(), readable))?;
    if text.contains("ENCRYPTED") {
        let remedy = "write it without, readable by the worker alone: openssl pkey -in KEY -out FILE";
        return Err(refused("the key has a pass phrase".to_owned(), remedy));
    }
    let begins = |line: &str| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&format!("{block}-----"));
    if !text.lines().any(begins) {
        return Err(refused(format!("it holds no {block} in PEM form"), readable));
    }
    Ok(text)
}

/// A broker that does not accept our certificate, or misses it, says so after our side of the handshake is done (TLS 1.3) and
/// closes: what we were sending meanwhile can make the system lose its words.
pub(super) const HUNG_UP: &str = "if the broker asks for a certificate, set amqp.client_cert_file and amqp.client_key_file to \
                                  one that it accepts; else see its log";

/// What to do about an error in the handshake, if it is one.
pub(super) fn remedy(error: &str) -> Option<&'static str> {
    Some(match trouble(error)? {
        Trouble::UnknownAuthority => {
            "name the authority that signed the broker's certificate in amqp.ca_file, and see that it is this broker"
        }
        Trouble::OtherHost => "write the host in AMQP_URL as it stands in the broker's certificate",
        Trouble::OutOfDate => "renew the broker's certificate, or put the clock right",
        Trouble::ClientCertificate => {
            "set amqp.client_cert_file and amqp.client_key_file to a certificate that the broker accepts"
        }
        Trouble::NoTls => "the port speaks no TLS: take the broker's TLS port, as a rule 5671",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_cannot_be_used_is_named_with_cause_and_remedy() {
        let folder = std::env::temp_dir().join(format!("reprieve-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let written = |name: &str, text: &str| {
            let file = folder.join(name);
            std::fs::write(&file, text).unwrap();
            file
        };
        let encrypted = written("encrypted", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nhunter2\n");
        let (key, none) = (written("key", "-----BEGIN EC PRIVATE KEY-----\nhunter2\n"), written("none", "hunter2"));
        let cert = written("cert", "-----BEGIN CERTIFICATE-----\nAAAA\n");
        for (ca_file, client_files, expected) in [
            (Some(folder.join("gone")), None, "amqp.ca_file"),
            (Some(folder.join("gone")), None, "No such file"),
            (Some(folder.clone()), None, "directory"),
            (Some(none.clone()), None, "holds no CERTIFICATE"),
            (Some(key.clone()), None, "holds no CERTIFICATE"),
            (None, Some((cert.clone(), none)), "amqp.client_key_file"),
            (None, Some((cert.clone(), cert.clone())), "holds no PRIVATE KEY"),
            (None, Some((cert.clone(), encrypted)), "openssl pkey"),
        ] {
            let error = Certificates { ca_file, client_files }.read().await.unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
        }
        let good = Certificates { ca_file: Some(cert.clone()), client_files: Some((cert, key)) };
        assert!(good.read().await.unwrap().identity.is_some());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
