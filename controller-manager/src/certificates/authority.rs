//! The certificate authority: makes a certificate of a request. Pure, but for the serial number.
//! Source: `pkg/controller/certificates/authority`.
//!
//! Subject and key go over from the request as they stand there. (rcgen, which makes the lab's other certificates, keeps
//! one organization only, and so one group.)

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::parse_x509_certificate;
use yasna::{
    DERWriterSeq, Tag, construct_der,
    models::ObjectIdentifier,
    tags::{TAG_GENERALIZEDTIME, TAG_UTCTIME},
};

use super::request::Request;

/// A certificate begins a little before it is made, for clocks that are behind. Source: `Backdate`, `Short`.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);
/// Certificates that are shorter than this end when they should; others a backdate earlier.
const SHORT: SignedDuration = SignedDuration::from_hours(8);

const ECDSA_WITH_SHA256: [u64; 7] = [1, 2, 840, 10045, 4, 3, 2];
const KEY_USAGE: [u64; 4] = [2, 5, 29, 15];
const ALTERNATIVES: [u64; 4] = [2, 5, 29, 17];
const BASIC_CONSTRAINTS: [u64; 4] = [2, 5, 29, 19];
const AUTHORITY_KEY: [u64; 4] = [2, 5, 29, 35];
const EXTENDED_KEY_USAGE: [u64; 4] = [2, 5, 29, 37];

/// Usages and their bits. Source: RFC 5280, 4.2.1.3.
const BITS: &[(&str, usize)] = &[
    ("signing", 0),
    ("digital signature", 0),
    ("content commitment", 1),
    ("key encipherment", 2),
    ("data encipherment", 3),
    ("key agreement", 4),
    ("cert sign", 5),
    ("crl sign", 6),
    ("encipher only", 7),
    ("decipher only", 8),
];

/// Usages and what stands for them. Source: RFC 5280, 4.2.1.12.
const PURPOSES: &[(&str, &[u64])] = &[
    ("any", &[2, 5, 29, 37, 0]),
    ("server auth", &[1, 3, 6, 1, 5, 5, 7, 3, 1]),
    ("client auth", &[1, 3, 6, 1, 5, 5, 7, 3, 2]),
    ("code signing", &[1, 3, 6, 1, 5, 5, 7, 3, 3]),
    ("email protection", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("s/mime", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("ipsec end system", &[1, 3, 6, 1, 5, 5, 7, 3, 5]),
    ("ipsec tunnel", &[1, 3, 6, 1, 5, 5, 7, 3, 6]),
    ("ipsec user", &[1, 3, 6, 1, 5, 5, 7, 3, 7]),
    ("timestamping", &[1, 3, 6, 1, 5, 5, 7, 3, 8]),
    ("ocsp signing", &[1, 3, 6, 1, 5, 5, 7, 3, 9]),
    ("microsoft sgc", &[1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
    ("netscape sgc", &[2, 16, 840, 1, 113730, 4, 1]),
];

/// Who signs.
pub struct Authority {
    key: EcdsaKeyPair,
    random: SystemRandom,
    subject: Vec<u8>,
    key_id: Option<Vec<u8>>,
    ends: Timestamp,
}

impl Authority {
    /// The authority with this certificate and this key (PEM; P-256 in PKCS #8).
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, String> {
        let certificate = CertificateDer::from_pem_slice(certificate).map_err(|error| error.to_string())?;
        let (_, parsed) = parse_x509_certificate(&certificate).map_err(|error| error.to_string())?;
        let PrivateKeyDer::Pkcs8(der) = PrivateKeyDer::from_pem_slice(key).map_err(|error| error.to_string())? else {
            return Err("its key is not in PKCS #8".to_owned());
        };
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_pkcs8_der(), &random)
            .map_err(|error| format!("its key is no P-256 key: {error}"))?;
        let ends =
            Timestamp::from_second(parsed.validity().not_after.timestamp()).map_err(|error| error.to_string())?;
        let key_id = parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        Ok(Self { key, random, subject: parsed.subject().as_raw().to_vec(), key_id, ends })
    }

    /// A certificate for whoever made the request, in PEM.
    pub fn sign(
        &self,
        request: &Request,
        usages: &[String],
        lasts: SignedDuration,
        now: Timestamp,
    ) -> Result<String, String> {
        let begins = now - BACKDATE;
        let ends = if lasts < SHORT { now + lasts } else { now + lasts - BACKDATE }.min(self.ends);
        if ends <= now {
            return Err("refusing to sign a certificate that expired in the past".to_owned());
        }
        let extensions = self.extensions(request, usages)?;
        let serial: [u8; 16] = rand::random();
        let body = construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_tagged(Tag::context(0), |writer| writer.write_u8(2));
                writer.next().write_bigint_bytes(&serial, true);
                algorithm(writer);
                writer.next().write_der(&self.subject);
                writer.next().write_sequence(|writer| {
                    time(writer, begins);
                    time(writer, ends);
                });
                writer.next().write_der(&request.subject);
                writer.next().write_der(&request.public_key);
                writer.next().write_tagged(Tag::context(3), |writer| {
                    writer.write_sequence(|writer| {
                        for (oid, critical, value) in &extensions {
                            writer.next().write_sequence(|writer| {
                                writer.next().write_oid(&ObjectIdentifier::from_slice(oid));
                                if *critical {
                                    writer.next().write_bool(true);
                                }
                                writer.next().write_bytes(value);
                            });
                        }
                    });
                });
            });
        });
        let signature = self.key.sign(&self.random, &body).map_err(|error| format!("cannot sign: {error}"))?;
        let certificate = construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_der(&body);
                algorithm(writer);
                writer.next().write_bitvec_bytes(signature.as_ref(), signature.as_ref().len() * 8);
            });
        });
        Ok(pem(&certificate))
    }

    fn extensions(&self, request: &Request, usages: &[String]) -> Result<Vec<(&'static [u64], bool, Vec<u8>)>, String> {
        let mut bits = [false; 9];
        let mut purposes: Vec<&[u64]> = Vec::new();
        for usage in usages {
            let bit = BITS.iter().find(|(name, _)| name == usage);
            let purpose = PURPOSES.iter().find(|(name, _)| name == usage);
            match (bit, purpose) {
                (Some((_, bit)), _) => bits[*bit] = true,
                (None, Some((_, oid))) if !purposes.contains(oid) => purposes.push(oid),
                (None, Some(_)) => {}
                (None, None) => return Err(format!("unrecognized usage values: [{usage:?}]")),
            }
        }
        let mut all: Vec<(&'static [u64], bool, Vec<u8>)> = Vec::new();
        if let Some(last) = bits.iter().rposition(|bit| *bit) {
            let bytes = bits
                .chunks(8)
                .map(|chunk| chunk.iter().enumerate().map(|(i, bit)| if *bit { 0x80_u8 >> i } else { 0 }).sum::<u8>());
            let bytes: Vec<u8> = bytes.take(last / 8 + 1).collect();
            all.push((&KEY_USAGE, true, construct_der(|writer| writer.write_bitvec_bytes(&bytes, last + 1))));
        }
        if !purposes.is_empty() {
            let value = construct_der(|writer| {
                writer.write_sequence(|writer| {
                    purposes.iter().for_each(|oid| writer.next().write_oid(&ObjectIdentifier::from_slice(oid)));
                });
            });
            all.push((&EXTENDED_KEY_USAGE, false, value));
        }
        all.push((&BASIC_CONSTRAINTS, true, construct_der(|writer| writer.write_sequence(|_| {}))));
        if let Some(id) = &self.key_id {
            let value = construct_der(|writer| {
                writer.write_sequence(|writer| {
                    writer.next().write_tagged_implicit(Tag::context(0), |writer| writer.write_bytes(id));
                });
            });
            all.push((&AUTHORITY_KEY, false, value));
        }
        if let Some((critical, value)) = &request.alternatives {
            all.push((&ALTERNATIVES, *critical, value.clone()));
        }
        Ok(all)
    }
}

fn algorithm(writer: &mut DERWriterSeq<'_>) {
    writer.next().write_sequence(|writer| {
        writer.next().write_oid(&ObjectIdentifier::from_slice(&ECDSA_WITH_SHA256));
    });
}

/// Source: RFC 5280, 4.1.2.5: two digits for a year until 2049.
fn time(writer: &mut DERWriterSeq<'_>, time: Timestamp) {
    let time = time.to_zoned(TimeZone::UTC);
    let (tag, format) =
        if time.year() < 2050 { (TAG_UTCTIME, "%y%m%d%H%M%SZ") } else { (TAG_GENERALIZEDTIME, "%Y%m%d%H%M%SZ") };
    let text = time.strftime(format).to_string();
    writer.next().write_tagged_implicit(tag, |writer| writer.write_visible_string(&text));
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut lines = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        lines.push_str(line);
        lines.push('\n');
        rest = tail;
    }
    lines.push_str("-----END CERTIFICATE-----\n");
    lines
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]

    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, SanType};

    use super::{super::request::tests::pem as request, *};

    /// An authority, and its certificate in PEM.
    pub fn authority() -> (Authority, String) {
        let pair = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "ca");
        params.not_after = rcgen::date_time_ymd(2036, 1, 1);
        let certificate = params.self_signed(&pair).unwrap().pem();
        (Authority::from_pem(certificate.as_bytes(), pair.serialize_pem().as_bytes()).unwrap(), certificate)
    }

    fn now() -> Timestamp {
        "2026-11-27T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn certificates_say_what_was_asked_for() {
        let (authority, root) = authority();
        let names = [SanType::DnsName("n1".try_into().unwrap())];
        let request = Request::parse(request("jane", "dev", &names).as_bytes()).unwrap();
        let usages = ["digital signature", "key encipherment", "client auth"].map(str::to_owned);
        let pem = authority.sign(&request, &usages, SignedDuration::from_hours(24), now()).unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let (rest, certificate) = parse_x509_certificate(&der).unwrap();
        assert!(rest.is_empty());
        let root = CertificateDer::from_pem_slice(root.as_bytes()).unwrap();
        let (_, root) = parse_x509_certificate(&root).unwrap();
        certificate.verify_signature(Some(root.public_key())).unwrap();
        assert_eq!(certificate.subject().to_string(), "CN=jane, O=dev");
        let usage = certificate.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.digital_signature() && usage.value.key_encipherment());
        assert!(!usage.value.key_cert_sign());
        let extended = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.client_auth && !extended.server_auth);
        assert!(!certificate.is_ca());
        let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(names.len(), 1);
        let ends = |pem: &str| {
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            let (_, certificate) = parse_x509_certificate(&der).unwrap();
            let validity = certificate.validity();
            [validity.not_before, validity.not_after]
                .map(|time| Timestamp::from_second(time.timestamp()).unwrap().to_string())
        };
        assert_eq!(ends(&pem), ["2026-11-27T11:55:00Z", "2026-11-28T11:55:00Z"]);
        for (hours, expected) in [(1, "2026-11-27T13:00:00Z"), (24 * 365 * 20, "2036-01-01T00:00:00Z")] {
            let pem = authority.sign(&request, &usages, SignedDuration::from_hours(hours), now()).unwrap();
            assert_eq!(ends(&pem)[1], expected);
        }
        let late: Timestamp = "2037-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(
            authority.sign(&request, &usages, SignedDuration::from_hours(1), late).unwrap_err(),
            "refusing to sign a certificate that expired in the past"
        );
        assert!(authority.sign(&request, &["fun".to_owned()], SignedDuration::from_hours(1), now()).is_err());
    }
}
