//! Certificates and keys: read, checked, and turned into what a handshake needs.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use rustls::crypto::{ring, CryptoProvider};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A checked identity, ready for handshakes.
pub struct Material {
    pub config: Arc<ServerConfig>,
    pub serial: String,
}

#[pyclass(module = "amaters_native.transport", frozen)]
pub struct TlsIdentity {
    pub material: Arc<Material>,
}

#[pymethods]
impl TlsIdentity {
    #[new]
    #[pyo3(signature = (certificate_pem, key_pem, client_ca_pem=None, require_client_cert=false))]
    fn new(
        certificate_pem: &[u8],
        key_pem: &[u8],
        client_ca_pem: Option<&[u8]>,
        require_client_cert: bool,
    ) -> PyResult<Self> {
        material(certificate_pem, key_pem, client_ca_pem, require_client_cert)
            .map(|material| TlsIdentity {
                material: Arc::new(material),
            })
            .map_err(PyValueError::new_err)
    }

    #[getter]
    fn serial(&self) -> &str {
        &self.material.serial
    }

    fn __repr__(&self) -> String {
        format!("TlsIdentity(serial={:?})", self.material.serial)
    }
}

fn material(
    certificate_pem: &[u8],
    key_pem: &[u8],
    client_ca_pem: Option<&[u8]>,
    require_client_cert: bool,
) -> Result<Material, String> {
    let chain = certificates("certificate", certificate_pem)?;
    let key = private_key(key_pem)?;
    let serial = serial_of(&chain[0])
        .ok_or("the first certificate is no X.509 certificate: is the file damaged?")?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match verifier(provider, client_ca_pem, require_client_cert)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(mismatch)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Material {
        config: Arc::new(config),
        serial,
    })
}

fn certificates(name: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("the {name} is no readable PEM: {error}"))?;
    if found.is_empty() {
        return Err(format!("the {name} holds no PEM certificate"));
    }
    Ok(found)
}

fn verifier(
    provider: Arc<CryptoProvider>,
    client_ca_pem: Option<&[u8]>,
    required: bool,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let Some(pem) = client_ca_pem else {
        if required {
            return Err("client certificates are required, but there is no client CA".into());
        }
        return Ok(None);
    };
    let roots = Arc::new(roots("client CA", pem)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
    let builder = if required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    builder
        .build()
        .map(Some)
        .map_err(|error| format!("the client CA cannot be used: {error}"))
}

fn roots(name: &str, pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(name, pem)? {
        roots
            .add(certificate)
            .map_err(|error| format!("the {name} cannot be used: {error}"))?;
    }
    Ok(roots)
}

/// What an outgoing connection shows and checks.
#[pyclass(module = "amaters_native.transport", frozen)]
pub struct ClientIdentity {
    pub config: Arc<ClientConfig>,
}

#[pymethods]
impl ClientIdentity {
    #[new]
    fn new(ca_pem: &[u8], certificate_pem: &[u8], key_pem: &[u8]) -> PyResult<Self> {
        client_config(ca_pem, certificate_pem, key_pem)
            .map(|config| ClientIdentity {
                config: Arc::new(config),
            })
            .map_err(PyValueError::new_err)
    }
}

fn client_config(ca: &[u8], certificate: &[u8], key: &[u8]) -> Result<ClientConfig, String> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots("CA", ca)?)
        .with_client_auth_cert(certificates("certificate", certificate)?, private_key(key)?)
        .map_err(mismatch)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|error| format!("the key is no readable PEM private key: {error}"))
}

fn mismatch(error: rustls::Error) -> String {
    format!("certificate and key do not work together, do they belong to each other? {error}")
}

/// One DER element: its tag, its contents, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let width = usize::from(first & 0x7f);
        if width == 0 || width > 4 || rest.len() < width {
            return None;
        }
        let (digits, rest) = rest.split_at(width);
        let length = digits
            .iter()
            .fold(0usize, |sum, digit| sum << 8 | usize::from(*digit));
        (length, rest)
    };
    (rest.len() >= length).then(|| (tag, &rest[..length], &rest[length..]))
}

/// The serial number: Certificate { tbsCertificate { [0] version?, serialNumber INTEGER, … } … }.
fn serial_of(certificate: &[u8]) -> Option<String> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    const INTEGER: u8 = 0x02;
    let (SEQUENCE, outer, _) = element(certificate)? else {
        return None;
    };
    let (SEQUENCE, inner, _) = element(outer)? else {
        return None;
    };
    let serial = match element(inner)? {
        (VERSION, _, rest) => element(rest)?,
        first => first,
    };
    let (INTEGER, digits, _) = serial else {
        return None;
    };
    let hex: String = digits.iter().map(|byte| format!("{byte:02x}")).collect();
    let trimmed = hex.trim_start_matches('0');
    Some(if trimmed.is_empty() { "0" } else { trimmed }.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_with_and_without_version() {
        let bare = [0x30, 5, 0x30, 3, 0x02, 1, 0x0b];
        let versioned = [0x30, 11, 0x30, 9, 0xa0, 3, 0x02, 1, 2, 0x02, 2, 0x00, 0xff];

        assert_eq!(serial_of(&bare).as_deref(), Some("b"));
        assert_eq!(serial_of(&versioned).as_deref(), Some("ff"));
    }

    #[test]
    fn damaged_certificates_have_no_serial() {
        for damaged in [
            &[][..],
            &[0x30],
            &[0x30, 5, 0x30],
            &[0x30, 0x85, 1, 1, 1, 1, 1],
            &[2, 1, 0],
        ] {
            assert_eq!(serial_of(damaged), None);
        }
    }
}
