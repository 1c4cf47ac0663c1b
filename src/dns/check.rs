//! One mail's checks: DKIM, SPF and DMARC at the same time, facts out.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use mail_auth::dkim::Canonicalization;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DkimResult, DmarcResult, MX, Parameters, RecordSet,
    SpfOutput, SpfResult, Txt,
};
use sha2::Digest;

use super::Dns;
use super::zone::{Table, Zone};
use crate::mail::header;
use crate::verdict::{Facts, Outcome, Signature, Spf};

/// Signatures of one mail that are looked at; real mail carries up to four.
const MAX_SIGNATURES: usize = 8;

/// Who handed the mail over, where that is known.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its address.
    pub ip: IpAddr,
    /// What it called itself.
    pub helo: String,
    /// The envelope sender.
    pub sender: String,
    /// The name of this machine.
    pub hostname: String,
}

type Names<T> = Table<Box<str>, RecordSet<T>>;
type Params<'x, P> = Parameters<
    'x,
    P,
    Table<Box<str>, Txt>,
    Names<MX>,
    Names<Ipv4Addr>,
    Names<Ipv6Addr>,
    Table<IpAddr, RecordSet<Box<str>>>,
>;

impl Dns {
    /// Finds out what there is about a mail, whose `bytes` are as received, with CRLF. Ends within the set time: what is not
    /// answered by then is unknown. A mail without signature whose client is not known costs nothing.
    pub async fn facts(&self, bytes: Arc<Vec<u8>>, client: Option<Client>) -> Facts {
        let client = client.filter(|c| is_outside(c.ip));
        let signed = header::fields(header::split(&bytes).0).any(|f| f.is("DKIM-Signature"));
        if !signed && client.is_none() {
            return Facts::default();
        }
        let dns = self.clone();
        // Hashing a large body takes a while: not on the threads that serve sockets.
        let handle = tokio::runtime::Handle::current();
        let checked =
            tokio::task::spawn_blocking(move || handle.block_on(dns.check_mail(&bytes, client)));
        checked.await.unwrap_or_else(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "authentication of a mail broke off"
            );
            Facts::default()
        })
    }

    /// What the DMARC record that holds for mail from a domain asks receivers to do: `none`, `quarantine` or `reject`; `None` without
    /// a record, or an answer in time.
    pub async fn find_policy(&self, domain: &str) -> Option<String> {
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        if domain.is_empty() || !domain.chars().all(plain) {
            return None;
        }
        let mail = format!("From: x@{domain}\r\n\r\n");
        let message = AuthenticatedMessage::parse(mail.as_bytes())?;
        let mut facts = Facts::default();
        let nobody = SpfOutput::default();
        let asked = self.dmarc(&message, &[], "", &nobody, &mut facts);
        tokio::time::timeout(self.timeout, asked).await.ok()?;
        facts.policy
    }

    async fn check_mail(&self, bytes: &[u8], client: Option<Client>) -> Facts {
        let bytes = few_signatures(bytes);
        let Some(message) = AuthenticatedMessage::parse(&bytes) else {
            return Facts::default();
        };
        let asked = self.ask(&message, client.as_ref());
        match tokio::time::timeout(self.timeout, asked).await {
            Ok(facts) => facts,
            Err(_) => unanswered(&message, client),
        }
    }

    async fn ask<'x>(
        &'x self,
        message: &'x AuthenticatedMessage<'x>,
        client: Option<&Client>,
    ) -> Facts {
        let (outputs, spf) = tokio::join!(self.dkim(message), self.spf(client));
        let (outputs, odd) = outputs;
        let nobody = SpfOutput::default();
        let mut facts = Facts::default();
        for output in &outputs {
            let mut one = read(output);
            if one.outcome == Outcome::Pass {
                let alone = std::slice::from_ref(output);
                one.aligned = self.dmarc(message, alone, "", &nobody, &mut facts).await.0;
            }
            facts.signatures.push(one);
        }
        facts.signatures.extend(odd);
        if let Some((spf, domain)) = spf {
            let outcome = match spf.result() {
                SpfResult::Pass => Some(Outcome::Pass),
                SpfResult::TempError => Some(Outcome::Unknown),
                SpfResult::None => None,
                _ => Some(Outcome::Fail),
            };
            let aligned = self.dmarc(message, &[], &domain, &spf, &mut facts).await.1;
            facts.spf = outcome.map(|outcome| Spf {
                domain,
                outcome,
                aligned: aligned && outcome == Outcome::Pass,
            });
        }
        facts
    }

    /// All signatures; those with a relaxed body are checked on a body without blank lines at its end if it has such,
    /// where the crate's canonical form is wrong (RFC 6376 section 3.4.4: white space goes first, then empty lines).
    async fn dkim<'x>(
        &'x self,
        message: &'x AuthenticatedMessage<'x>,
    ) -> (Vec<DkimOutput<'x>>, Vec<Signature>) {
        let outputs = self.authenticator.verify_dkim(self.with(message)).await;
        let raw = message.raw_message;
        let Some(trimmed) = without_blank_end(raw) else {
            return (outputs, Vec::new());
        };
        let Some(again) = AuthenticatedMessage::parse(&trimmed) else {
            return (outputs, Vec::new());
        };
        let relaxed = |o: &DkimOutput<'_>| {
            let signature = o.signature();
            signature.is_some_and(|s| s.cb == Canonicalization::Relaxed)
        };
        let mended = self.authenticator.verify_dkim(self.with(&again)).await;
        let mut odd = Vec::new();
        let mut sound = Vec::new();
        for (first, second) in outputs.into_iter().zip(&mended) {
            if relaxed(&first) && first.result() != second.result() {
                let mut one = read(second);
                let alone = std::slice::from_ref(second);
                if one.outcome == Outcome::Pass {
                    let mut facts = Facts::default();
                    let nobody = SpfOutput::default();
                    one.aligned = self.dmarc(&again, alone, "", &nobody, &mut facts).await.0;
                }
                odd.push(one);
            } else {
                sound.push(first);
            }
        }
        (sound, odd)
    }

    async fn spf(&self, client: Option<&Client>) -> Option<(SpfOutput, String)> {
        let client = client?;
        let (_, domain) = client.sender.rsplit_once('@')?;
        let wish = SpfParameters::verify_mail_from(
            client.ip,
            &client.helo,
            &client.hostname,
            &client.sender,
        );
        let output = self.authenticator.verify_spf(self.with(wish)).await;
        Some((output, domain.to_lowercase()))
    }

    /// Whether DMARC's rule ties these to the domain in From: by DKIM, by SPF. Notes the policy.
    async fn dmarc(
        &self,
        message: &AuthenticatedMessage<'_>,
        outputs: &[DkimOutput<'_>],
        domain: &str,
        spf: &SpfOutput,
        facts: &mut Facts,
    ) -> (bool, bool) {
        let wish = DmarcParameters::new(message, outputs, domain, spf);
        let found = self.authenticator.verify_dmarc(self.with(wish)).await;
        if found.dmarc_record().is_some() {
            facts.policy = Some(found.policy().to_string());
        }
        (
            *found.dkim_result() == DmarcResult::Pass,
            *found.spf_result() == DmarcResult::Pass,
        )
    }

    pub(super) fn with<P>(&self, params: P) -> Params<'_, P> {
        let zone: Option<&Zone> = self.zone.as_deref();
        Parameters {
            params,
            cache_txt: zone.map(|z| &z.txt),
            cache_mx: zone.map(|z| &z.mx),
            cache_ptr: zone.map(|z| &z.ptr),
            cache_ipv4: zone.map(|z| &z.ipv4),
            cache_ipv6: zone.map(|z| &z.ipv6),
        }
    }
}

/// SPF says nothing about this machine and its own network.
fn is_outside(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !(ip.is_loopback() || ip.is_private() || ip.is_link_local()),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => is_outside(ip.into()),
            None => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()),
        },
    }
}

/// The mail with its first signatures only: each may make the whole body be hashed once more.
fn few_signatures(bytes: &[u8]) -> Cow<'_, [u8]> {
    let is = |f: &header::RawField<'_>| f.is("DKIM-Signature");
    let fields = header::fields(header::split(bytes).0);
    if fields.filter(is).count() <= MAX_SIGNATURES {
        return Cow::Borrowed(bytes);
    }
    let seen = std::cell::Cell::new(0);
    Cow::Owned(header::without_fields(bytes, |f| {
        seen.set(seen.get() + usize::from(is(f)));
        is(f) && seen.get() > MAX_SIGNATURES
    }))
}

/// The mail without lines of blanks at its end; `None` if it has none, or only empty ones, with which nothing is wrong.
fn without_blank_end(bytes: &[u8]) -> Option<Vec<u8>> {
    let (_, body) = header::split(bytes);
    let head = bytes.len() - body.len();
    let mut end = body.len();
    let mut blank = false;
    loop {
        let line = &body[..end];
        let text = line.strip_suffix(b"\r\n").unwrap_or(line);
        let start = memchr::memrchr(b'\n', text).map_or(0, |at| at + 1);
        if end == 0 || !text[start..].iter().all(|b| matches!(b, b' ' | b'\t')) {
            break;
        }
        blank |= start < text.len();
        end = start;
    }
    blank.then(|| bytes[..head + end].to_vec())
}

fn read(output: &DkimOutput<'_>) -> Signature {
    let (outcome, detail) = match output.result() {
        DkimResult::Pass => (Outcome::Pass, String::new()),
        DkimResult::TempError(error) => (Outcome::Unknown, error.to_string()),
        DkimResult::None => (Outcome::Fail, "no result".to_owned()),
        DkimResult::Fail(error) | DkimResult::Neutral(error) | DkimResult::PermError(error) => {
            (Outcome::Fail, error.to_string())
        }
    };
    let signature = output.signature();
    Signature {
        outcome,
        detail,
        ..describe(signature)
    }
}

fn describe(signature: Option<&mail_auth::dkim::Signature>) -> Signature {
    let text = |t: &str| t.chars().take(255).collect::<String>().to_lowercase();
    let proof = |b: &[u8]| data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(b)[..16]);
    Signature {
        domain: signature.map(|s| text(&s.d)).unwrap_or_default(),
        selector: signature.map(|s| text(&s.s)).unwrap_or_default(),
        outcome: Outcome::Unknown,
        detail: String::new(),
        fields: signature
            .map(|s| s.h.iter().map(|f| f.to_lowercase()).collect())
            .unwrap_or_default(),
        partial: signature.is_some_and(|s| s.l > 0),
        aligned: false,
        proof: signature.map(|s| proof(&s.b)).unwrap_or_default(),
    }
}

/// What is left when DNS took too long.
fn unanswered(message: &AuthenticatedMessage<'_>, client: Option<Client>) -> Facts {
    let signatures = message.dkim_headers.iter().map(|field| Signature {
        detail: "DNS gave no answer in time".to_owned(),
        ..describe(Some(&field.header))
    });
    let spf = client.and_then(|client| {
        let (_, domain) = client.sender.rsplit_once('@')?;
        Some(Spf {
            domain: domain.to_lowercase(),
            outcome: Outcome::Unknown,
            aligned: false,
        })
    });
    Facts {
        signatures: signatures.collect(),
        spf,
        ..Facts::default()
    }
}

#[cfg(test)]
mod tests;
