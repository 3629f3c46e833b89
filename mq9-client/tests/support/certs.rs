//! Certificates made for one test by the `openssl` command.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory with certificates, gone with the value.
pub struct Certs {
    dir: PathBuf,
}

impl Certs {
    pub fn available() -> bool {
        Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success())
    }

    /// Two authorities `ca` and `other-ca`; of the first `server` for 127.0.0.1, `elsewhere` for another
    /// host, and `client`.
    pub fn make() -> Self {
        let certs = Self { dir: super::scratch_dir("certs") };
        let config = certs.path("openssl.cnf");
        std::fs::write(&config, CONFIG).expect("the configuration is written");
        for (name, extensions, authority) in [
            ("ca", "authority", None),
            ("other-ca", "authority", None),
            ("server", "here", Some("ca")),
            ("elsewhere", "elsewhere", Some("ca")),
            ("client", "client", Some("ca")),
        ] {
            certs.one(&config, name, extensions, authority);
        }
        certs
    }

    pub fn pem(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.pem"))
    }

    pub fn key(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.key"))
    }

    fn one(&self, config: &Path, name: &str, extensions: &str, authority: Option<&str>) {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        openssl.args(["-days", "2", "-extensions", extensions, "-subj", &format!("/CN={name}")]);
        openssl.arg("-config").arg(config).arg("-out").arg(self.pem(name)).arg("-keyout").arg(self.key(name));
        if let Some(authority) = authority {
            openssl.arg("-CA").arg(self.pem(authority)).arg("-CAkey").arg(self.key(authority));
        }
        let output = openssl.output().expect("openssl runs");
        assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for Certs {
    fn drop(&mut self) {
        // What remains is a few kilobytes in the system's temporary directory.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

const CONFIG: &str = "
[req]
distinguished_name = name
prompt = no
[name]
CN = unused
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[here]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1
[elsewhere]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:elsewhere.example
[client]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = clientAuth
";
