//! The keys that sign: that they are there, and that the server can read them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::records::{SigningKey, Weight};
use super::report::Report;
use crate::deliver::keys;

/// Whether the server can sign: mail of a domain whose keys it cannot read waits.
pub fn keys(data: &Path, report: &mut Report) {
    let domains = match keys::domains(data) {
        Ok(domains) => domains,
        Err(error) => return report.bad("dkim keys", &error.to_string(), &mend(data)),
    };
    let files = files(data);
    for domain in domains {
        let what = format!("dkim keys {domain}");
        let of_domain = |file: &&PathBuf| file.parent().is_some_and(|f| f.ends_with(&domain));
        let foreign = files.iter().filter(of_domain).find(|f| is_foreign(data, f));
        match (keys::load(data, &domain), foreign) {
            (Err(error), _) => {
                let detail = format!("{error}: the domain's mail is signed by others, or waits");
                let mend = match error.kind() {
                    std::io::ErrorKind::InvalidData => mend_damaged(data, &domain),
                    _ => mend(data),
                };
                report.bad(&what, &detail, &mend);
            }
            (Ok(_), Some(file)) => {
                let detail = format!(
                    "{} belongs to another user than {}: the server cannot read it",
                    file.display(),
                    data.display()
                );
                report.bad(&what, &detail, &mend(data));
            }
            (Ok(keys), None) => report.ok(&what, &format!("{} sign", keys.pairs.len())),
        }
    }
}

fn mend(data: &Path) -> String {
    let folder = data.display();
    format!(
        "as root: chown -R --reference='{folder}' '{folder}/dkim'; then look again as the user that runs the server"
    )
}

/// A file that is no key, or cut off.
fn mend_damaged(data: &Path, domain: &str) -> String {
    format!(
        "{}. If there is no backup: move that file out of the folder, then `patchpost dkim rotate {domain}`, and its records into DNS",
        from_backup(data)
    )
}

/// How the keys come back that DNS names.
pub fn from_backup(data: &Path) -> String {
    let folder = data.display();
    format!(
        "as root, from the last backup, which has the keys that DNS names: tar --extract --zstd --file BACKUP --directory '{folder}' dkim \
         && chown -R --reference='{folder}' '{folder}/dkim'"
    )
}

fn is_foreign(data: &Path, file: &Path) -> bool {
    let owner = |path: &Path| std::fs::metadata(path).map(|m| m.uid()).ok();
    owner(file).is_some_and(|own| owner(data).is_some_and(|all| all != own))
}

/// The files with keys that sign; those that cannot be listed are told of when they are read.
pub fn files(data: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for domain in keys::domains(data).unwrap_or_default() {
        let entries = std::fs::read_dir(data.join("dkim").join(domain));
        files.extend(entries.into_iter().flatten().flatten().map(|e| e.path()));
    }
    files.retain(|file| file.extension().is_some_and(|e| e == "pem"));
    files.sort();
    files
}

/// The public halves of the keys that sign for a domain.
pub fn of_domain(data: &Path, domain: &str) -> std::io::Result<Vec<SigningKey>> {
    let keys = keys::load(data, domain)?;
    let mut all = Vec::new();
    for (n, pair) in keys.pairs.iter().enumerate() {
        let newest = n + 1 == keys.pairs.len();
        for record in pair.records(domain) {
            let weight = match record.algorithm {
                "ed25519" => Weight::Spare,
                _ => Weight::Needed,
            };
            // All RSA keys sign; of the others only the newest does.
            if weight == Weight::Needed || newest {
                all.push(SigningKey {
                    domain: domain.to_owned(),
                    name: record.name,
                    record: record.strings.concat(),
                    weight,
                });
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_the_server_cannot_read_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path();
        let look = || {
            let mut report = Report::default();
            keys(data, &mut report);
            report.render()
        };
        assert_eq!(look(), "");
        keys::make(data, "x.org", crate::store::now()).expect("made");
        assert_eq!(look(), "ok   dkim keys x.org: 1 sign\n");
        std::fs::write(data.join("dkim/x.org/p1.pem"), "x").expect("written");
        let seen = look();
        assert!(seen.starts_with("BAD  dkim keys x.org: "), "{seen}");
        assert!(seen.contains("p1.pem: it holds no RSA key"), "{seen}");
        assert!(seen.contains("> as root, from the last backup, "), "{seen}");
        assert!(seen.contains("move that file out of the folder"), "{seen}");
        assert_eq!(seen.lines().count(), 2, "{seen}");
    }
}
