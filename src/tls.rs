//! What goes wrong with certificates, in one word each: broker and database are reached by the same TLS library, which says it
//! in the same words. It opens no connection; what to do about it is said where the settings are known.

/// What went wrong. A line of the remedies that each side has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody here knows who signed the server's certificate.
    UnknownAuthority,
    /// The certificate belongs to another host than the one in the address.
    OtherHost,
    /// It is over, or has not begun.
    OutOfDate,
    /// The server wants a certificate of ours, or another one.
    ClientCertificate,
    /// The server speaks no TLS there.
    NoTls,
}

/// The trouble behind an error's text, if it is any of these.
pub fn trouble(text: &str) -> Option<Trouble> {
    /// The library's words.
    const SIGNS: [(&str, Trouble); 13] = [
        ("UnknownIssuer", Trouble::UnknownAuthority),
        ("CaUsedAsEndEntity", Trouble::UnknownAuthority),
        ("certificate not valid for name", Trouble::OtherHost),
        ("NotValidForName", Trouble::OtherHost),
        ("certificate expired", Trouble::OutOfDate),
        ("certificate not valid yet", Trouble::OutOfDate),
        ("fatal alert: CertificateRequired", Trouble::ClientCertificate),
        ("fatal alert: BadCertificate", Trouble::ClientCertificate),
        ("fatal alert: UnknownCA", Trouble::ClientCertificate),
        ("fatal alert: HandshakeFailure", Trouble::ClientCertificate),
        ("valid client certificate", Trouble::ClientCertificate),
        ("received corrupt message", Trouble::NoTls),
        ("does not support TLS", Trouble::NoTls),
    ];
    SIGNS.iter().find(|(sign, _)| text.contains(sign)).map(|(_, trouble)| *trouble)
}

/// Whether a host is this machine, so that what is sent to it does not leave it.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_trouble_with_certificates_is_left_alone() {
        assert_eq!(trouble("invalid peer certificate: UnknownIssuer"), Some(Trouble::UnknownAuthority));
        assert_eq!(trouble("Connection refused (os error 111)"), None);
    }

    #[test]
    fn this_machine_has_several_names() {
        for (host, expected) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("[::1]", true),
            ("localhost.example.com", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
    }
}
