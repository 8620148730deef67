//! An authority, what it signed, and another authority: made anew for each pair of servers, so that nothing runs out.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

/// The one name the servers' certificate is valid for. They listen on 127.0.0.1, which is therefore a wrong one.
pub(crate) const HOST: &str = "localhost";

/// A folder of PEM files.
#[derive(Clone)]
pub(crate) struct Certificates(PathBuf);

impl Certificates {
    pub(crate) fn make(folder: PathBuf) -> Self {
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let (ca, stranger) = (authority("reprieve test"), authority("somebody else"));
        let made = Self(folder);
        made.write("ca.pem", &ca.pem());
        made.write("stranger.pem", &stranger.pem());
        for (name, issuer, purpose) in [
            ("server", &ca, ExtendedKeyUsagePurpose::ServerAuth),
            ("client", &ca, ExtendedKeyUsagePurpose::ClientAuth),
            ("forged", &stranger, ExtendedKeyUsagePurpose::ClientAuth),
        ] {
            let key = KeyPair::generate().expect("a key");
            let hosts = if name == "server" { vec![HOST.to_owned()] } else { Vec::new() };
            let mut parameters = CertificateParams::new(hosts).expect("a host name");
            parameters.distinguished_name.push(DnType::CommonName, CLIENT);
            parameters.extended_key_usages.push(purpose);
            let certificate = parameters.signed_by(&key, issuer).expect("a certificate");
            made.write(&format!("{name}.pem"), &certificate.pem());
            made.write(&format!("{name}.key"), &key.serialize_pem());
        }
        made
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).expect("it was made")
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).expect("the temporary folder can be written");
    }
}

/// The name in the client's certificate; the database compares it with the role.
pub(crate) const CLIENT: &str = "tls_client";

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().expect("a key")).expect("a certificate")
}

/// The broker's settings for a second listener that asks for a certificate and takes none that is not signed.
pub(crate) fn broker_settings(port: u16, made: &Certificates) -> String {
    let [ca, cert, key] = ["ca.pem", "server.pem", "server.key"].map(|name| made.file(name));
    format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {ca}\nssl_options.certfile = {cert}\n\
         ssl_options.keyfile = {key}\nssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n"
    )
}

/// What makes the database server speak TLS without a restart: files in its own folder, written by itself.
pub(crate) fn database_statements(made: &Certificates, rules: &[&str]) -> Vec<String> {
    let put = |name: &str, lines: &str, command: &str| {
        let rows: Vec<String> = lines.lines().map(|line| format!("('{line}')")).collect();
        format!("COPY (VALUES {}) TO PROGRAM '{command} {name} && chmod 600 {name}'", rows.join(", "))
    };
    let mut statements = vec![
        put("ca.pem", &made.text("ca.pem"), "cat >"),
        put("server.pem", &made.text("server.pem"), "cat >"),
        put("server.key", &made.text("server.key"), "cat >"),
        put("pg_hba.conf", &rules.join("\n"), "cat - pg_hba.conf > rules && cp rules"),
    ];
    for (name, value) in
        [("ssl_ca_file", "ca.pem"), ("ssl_cert_file", "server.pem"), ("ssl_key_file", "server.key"), ("ssl", "on")]
    {
        statements.push(format!("ALTER SYSTEM SET {name} = '{value}'"));
    }
    statements.push("SELECT pg_reload_conf()".to_owned());
    statements
}

/// Where a case keeps a copy that changes.
pub(crate) fn copy(from: &str, to: &Path) {
    // In place of the old one at once: a reader never finds half a file.
    let new = to.with_extension("new");
    std::fs::copy(from, &new).and_then(|_| std::fs::rename(&new, to)).expect("the case's folder can be written");
}
