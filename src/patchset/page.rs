//! Pages of patchsets, as mails name them by their addresses: `https://lists.example.org/dev/patches/12/v2/`.
//!
//! Pure. Which site is ours, and what is there, is for the caller to see.

use crate::types::PatchsetId;

/// Letters of an address that is looked at.
const LONGEST: usize = 300;

/// A version of a patchset by the address of its page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Host, and what stands before the list, in lower case.
    site: String,
    /// The list's name.
    pub list: String,
    /// The patchset's number.
    pub patchset: PatchsetId,
    /// The version's label; empty: the newest.
    pub label: String,
}

impl Page {
    /// Reads an address; `None` if it is none of such a page.
    pub fn parse(text: &str) -> Option<Page> {
        let text = text.trim_start_matches('<');
        let (scheme, rest) = text.split_once("://").filter(|_| text.len() <= LONGEST)?;
        let web = ["http", "https"]
            .iter()
            .any(|s| scheme.eq_ignore_ascii_case(s));
        let path = rest.split(['?', '#', '>']).next()?.trim_end_matches('/');
        // What holds a Message-ID names a mail.
        if !web || path.contains('@') {
            return None;
        }
        let pieces: Vec<&str> = path.split('/').collect();
        let (site, list, number, label) = match pieces.as_slice() {
            [site @ .., list, "patches", number] => (site, list, number, ""),
            [site @ .., list, "patches", number, label] => {
                (site, list, number, label.strip_prefix('v')?)
            }
            _ => return None,
        };
        let fits = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | 'r');
        if site.is_empty() || list.is_empty() || !label.chars().all(fits) {
            return None;
        }
        let number: i64 = number.parse().ok()?;
        Some(Page {
            site: site.join("/").to_ascii_lowercase(),
            list: (*list).to_owned(),
            patchset: PatchsetId(number),
            label: label.to_owned(),
        })
    }

    /// Whether it is one of the site with that base of all addresses.
    pub fn is_of(&self, base_url: &str) -> bool {
        site(base_url) == self.site
    }

    /// The addresses under which a version may be named on the site with that base: as the newest, and by its label.
    pub fn both(base_url: &str, list: String, patchset: PatchsetId, label: String) -> [String; 2] {
        let newest = Page {
            site: site(base_url),
            list,
            patchset,
            label: String::new(),
        };
        [newest.to_string(), Page { label, ..newest }.to_string()]
    }
}

/// Host, and what stands before the list, in lower case.
fn site(base_url: &str) -> String {
    let site = base_url.split_once("://");
    let site = site.map_or(base_url, |(_, site)| site);
    site.trim_end_matches('/').to_ascii_lowercase()
}

/// The address, the same for all ways to write it.
impl std::fmt::Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Page {
            site,
            list,
            patchset,
            label,
        } = self;
        write!(f, "https://{site}/{list}/patches/{patchset}/")?;
        match label.as_str() {
            "" => Ok(()),
            label => write!(f, "v{label}/"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_however_its_address_is_written() {
        let check = |text: &str, expected: Option<&str>| {
            let page = Page::parse(text).map(|page| page.to_string());
            assert_eq!(page.as_deref(), expected, "{text}");
        };
        let (second, newest) = (
            "https://x.org/dev/patches/12/v2/",
            "https://x.org/dev/patches/12/",
        );
        check("https://x.org/dev/patches/12/v2/", Some(second));
        check("http://X.org/dev/patches/12/v2", Some(second));
        check("<https://x.org/dev/patches/12/v2/#m1>", Some(second));
        check("https://x.org/dev/patches/12/?theme=dark", Some(newest));
        check(
            "https://x.org/dev/patches/12/v3-r1/",
            Some("https://x.org/dev/patches/12/v3-r1/"),
        );
        check(
            "https://x.org:8080/a/dev/patches/1",
            Some("https://x.org:8080/a/dev/patches/1/"),
        );
        for other in [
            "https://x.org/dev/patches/",
            "https://x.org/dev/patches/twelve/",
            "https://x.org/dev/patches/12/v1..v2",
            "https://x.org/dev/patches/12/mbox",
            "https://x.org/patches/12/",
            "https://x.org/dev/12@x/patches/12/",
            "ftp://x.org/dev/patches/12/",
            "x.org/dev/patches/12/",
        ] {
            check(other, None);
        }
    }

    #[test]
    fn a_page_is_of_the_site_with_its_host_and_path() {
        let page = Page::parse("https://x.org/lists/dev/patches/12/").expect("a page");
        for (base, ours) in [
            ("https://x.org/lists", true),
            ("http://X.org/lists/", true),
            ("https://x.org", false),
            ("https://x.org:8080/lists", false),
            ("https://evil.org/lists", false),
        ] {
            assert_eq!(page.is_of(base), ours, "{base}");
        }
    }

    #[test]
    fn a_version_is_named_by_two_addresses() {
        let both = Page::both(
            "http://X.org/lists/",
            "dev".to_owned(),
            PatchsetId(12),
            "3-r1".to_owned(),
        );
        assert_eq!(
            both,
            [
                "https://x.org/lists/dev/patches/12/",
                "https://x.org/lists/dev/patches/12/v3-r1/"
            ]
        );
        for address in both {
            let page = Page::parse(&address).expect("a page");
            assert!(page.is_of("https://x.org/lists"));
        }
    }
}
