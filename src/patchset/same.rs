//! When two trailers say the same, and when two addresses are one person's; and sets of them that are asked without looking
//! at all their members.

use std::collections::HashSet;

use super::trailer::{Trailer, linked_id};

/// Trailers, asked whether one of them says the same as another: the same text, or of one kind and one person. Who calls
/// himself otherwise says it once more: so it is in b4.
#[derive(Debug, Default)]
pub(super) struct Said(HashSet<(String, What)>);

/// What of a trailer makes it the same as another of its kind, in lower case.
#[derive(Debug, PartialEq, Eq, Hash)]
enum What {
    Value(String),
    Link(String),
    /// Where somebody is reached, and what he is called; `None`: whatever that is.
    Person(Place, Option<String>),
}

/// What of an address makes it the same as another, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    Whole(String),
    /// Without `+detail`: local part and domain.
    At(String, String),
    /// In a domain right below that one.
    Below(String, String),
}

impl Said {
    /// Adds a trailer.
    pub(super) fn insert(&mut self, trailer: &Trailer) {
        let kind = trailer.name.to_ascii_lowercase();
        let people = trailer.person().into_iter().flat_map(|(name, address)| {
            let names = [None, Some(name.to_lowercase())];
            let places = kept(address).into_iter();
            places.flat_map(move |p| names.clone().map(|name| What::Person(p.clone(), name)))
        });
        let all = texts(trailer).chain(people);
        self.0.extend(all.map(|what| (kind.clone(), what)));
    }

    /// Whether one of them says the same.
    pub(super) fn contains(&self, trailer: &Trailer) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let kind = trailer.name.to_ascii_lowercase();
        let people = trailer.person().into_iter().flat_map(|(name, address)| {
            // Who gives no name is everybody of that address.
            let names = match name {
                "" => vec![None],
                name => vec![Some(name.to_lowercase()), Some(String::new())],
            };
            let places = asked(address).into_iter();
            places.flat_map(move |p| {
                let person = move |name| What::Person(p.clone(), name);
                names.clone().into_iter().map(person)
            })
        });
        let mut all = texts(trailer).chain(people);
        all.any(|what| self.0.contains(&(kind.clone(), what)))
    }
}

/// The text itself; of links also the Message-ID in them.
fn texts(trailer: &Trailer) -> impl Iterator<Item = What> {
    let link = trailer.is("link").then(|| linked_id(&trailer.value));
    let link = link.flatten().map(What::Link);
    std::iter::once(What::Value(trailer.value.to_lowercase())).chain(link)
}

/// People, told apart by their addresses.
#[derive(Debug, Default)]
pub struct People {
    places: HashSet<Place>,
    count: usize,
}

impl People {
    /// Counts somebody who is not among them yet.
    pub fn add(&mut self, address: &str) {
        if !asked(address).iter().any(|p| self.places.contains(p)) {
            self.places.extend(kept(address));
            self.count += 1;
        }
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.count
    }
}

/// Whether two addresses are one person's: in any case, with or without `+detail`, and in a domain or the one above it
/// (`ana@linux.example.org` and `ana@example.org`).
pub fn same_address(one: &str, other: &str) -> bool {
    let known = kept(one);
    asked(other).iter().any(|place| known.contains(place))
}

/// An address as sets hold it.
fn kept(address: &str) -> Vec<Place> {
    places(address, Place::Below)
}

/// The same as they are asked for it: in the domain above where sets hold the one below, and the other way round.
fn asked(address: &str) -> Vec<Place> {
    let mut all = places(address, Place::At);
    if let Some(Place::At(local, domain)) = all.get(1).cloned() {
        all.push(Place::Below(local, domain));
    }
    all
}

/// The address, what it is without `+detail`, and what `above` makes of the domain above its own.
fn places(address: &str, above: fn(String, String) -> Place) -> Vec<Place> {
    let address = address.to_lowercase();
    let mut all = Vec::with_capacity(4);
    if let Some((local, domain)) = address.rsplit_once('@') {
        let local = local.split('+').next().unwrap_or(local).to_owned();
        // A top-level domain is above everybody.
        let parent = domain
            .split_once('.')
            .filter(|(head, rest)| !head.is_empty() && rest.contains('.'));
        if !local.is_empty() {
            all.push(Place::At(local.clone(), domain.to_owned()));
            all.extend(parent.map(|(_, domain)| above(local, domain.to_owned())));
        }
    }
    if !address.is_empty() {
        all.insert(0, Place::Whole(address));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the sets must agree with.
    fn says_same(one: &Trailer, other: &Trailer) -> bool {
        let one_kind = one.name.eq_ignore_ascii_case(&other.name);
        let one_person = || {
            let ((a_name, a), (b_name, b)) = one.person().zip(other.person())?;
            let named = a_name.is_empty() || b_name.is_empty();
            let same_name = named || a_name.to_lowercase() == b_name.to_lowercase();
            Some(same_name && alike(a, b))
        };
        one.same(other) || (one_kind && one_person().unwrap_or(false))
    }

    fn alike(one: &str, other: &str) -> bool {
        let (one, other) = (one.to_lowercase(), other.to_lowercase());
        if one == other {
            return !one.is_empty();
        }
        let split = |address: &str| {
            let (local, domain) = address.rsplit_once('@')?;
            let local = local.split('+').next().unwrap_or(local);
            (!local.is_empty()).then(|| (local.to_owned(), domain.to_owned()))
        };
        let (Some((a, a_domain)), Some((b, b_domain))) = (split(&one), split(&other)) else {
            return false;
        };
        let above = |long: &str, short: &str| {
            let head = long.strip_suffix(short).and_then(|h| h.strip_suffix('.'));
            head.is_some_and(|h| !h.is_empty() && !h.contains('.')) && short.contains('.')
        };
        a == b
            && (a_domain == b_domain || above(&a_domain, &b_domain) || above(&b_domain, &a_domain))
    }

    const ADDRESSES: [&str; 16] = [
        "ana@example.org",
        "Ana+git@Example.org",
        "ana+a+b@example.org",
        "ana@linux.example.org",
        "ana@net.example.org",
        "ana@a.linux.example.org",
        "ana@org",
        "ana@.example.org",
        "ana@example.org.",
        "ben@example.org",
        "+git@example.org",
        "a@b@example.org",
        "@example.org",
        "ana@",
        "ana",
        "",
    ];

    #[test]
    fn addresses_of_one_person_are_found_among_others() {
        for one in ADDRESSES {
            for other in ADDRESSES {
                assert_eq!(same_address(one, other), alike(one, other), "{one} {other}");
                let mut people = People::default();
                people.add(one);
                people.add(other);
                let expected = if alike(one, other) { 1 } else { 2 };
                assert_eq!(people.count(), expected, "{one} {other}");
            }
        }
    }

    #[test]
    fn trailers_that_say_the_same_are_found_among_others() {
        let people = ["", "Ana", "ANA", "Ana Lima"].into_iter().flat_map(|name| {
            let value = move |address: &&str| format!("{name} <{address}>");
            ADDRESSES.iter().map(value).collect::<Vec<_>>()
        });
        let other = ADDRESSES.map(str::to_owned).into_iter().chain(
            [
                "https://lore.example.org/r/one@x/",
                "https://other.example.org/One@x",
                "https://lore.example.org/r/two@x/",
                "words",
                "Words",
            ]
            .map(str::to_owned),
        );
        let values: Vec<String> = people.chain(other).collect();
        let trailers = |kind: &'static str| values.iter().map(move |v| Trailer::new(kind, v));
        let kinds = ["Reviewed-by", "reviewed-by", "Link", "Fixes"];
        let all: Vec<Trailer> = kinds.into_iter().flat_map(trailers).collect();
        for one in &all {
            let mut said = Said::default();
            said.insert(one);
            for other in &all {
                assert_eq!(
                    said.contains(other),
                    says_same(one, other),
                    "{one} / {other}"
                );
            }
        }
    }
}
