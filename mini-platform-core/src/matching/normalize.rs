//! The form in which names are compared.

use unicase::UniCase;
use unicode_normalization::UnicodeNormalization;

/// Writes the normal form of a name to the end of `out`: NFKC, full case folding, white space collapsed to
/// single spaces, none at the ends.
///
/// Folding can undo NFKC and the reverse, so non-ASCII names go through both twice, as Unicode's
/// `toNFKC_Casefold` (The Unicode Standard, section 5.18) prescribes for identifiers. Applying it again changes
/// nothing.
pub fn normalize(name: &str, out: &mut String) {
    if name.is_ascii() {
        push_collapsed(name.chars().map(|c| c.to_ascii_lowercase()), out);
    } else {
        let once = fold(name);
        push_collapsed(fold(&once).chars(), out);
    }
}

fn fold(name: &str) -> String {
    let composed: String = name.nfkc().collect();
    UniCase::unicode(composed).to_folded_case().nfkc().collect()
}

fn push_collapsed(chars: impl Iterator<Item = char>, out: &mut String) {
    let start = out.len();
    let mut gap = false;
    for c in chars {
        if c.is_whitespace() {
            gap = out.len() > start;
        } else {
            if gap {
                out.push(' ');
                gap = false;
            }
            out.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::normalize;

    fn normalized(name: &str) -> String {
        let mut out = String::new();
        normalize(name, &mut out);
        out
    }

    #[test]
    fn case_width_and_white_space_do_not_matter() {
        for (name, normal) in [
            ("  John\t SMITH ", "john smith"),
            ("STRASSE", "strasse"),
            ("Straße", "strasse"),
            ("ＡＢＣ１", "abc1"),
            ("Va\u{301}clav", "v\u{e1}clav"),
            ("ΣΊΣΥΦΟΣ", "σίσυφοσ"),
            ("İ", "i\u{307}"),
            ("ﬁ", "fi"),
            ("a\u{a0}\u{3000}b", "a b"),
        ] {
            assert_eq!(normalized(name), normal, "{name}");
        }
    }

    #[test]
    fn accents_and_order_of_words_do_matter() {
        assert_ne!(normalized("Novák"), normalized("Novak"));
        assert_ne!(normalized("Ann Bee"), normalized("Bee Ann"));
    }

    #[test]
    fn normalising_twice_changes_nothing() {
        for name in ["ŉ", "ᾳ", "K", "ǰ", "ﬃ", "\u{1e9e}", "ΐ", "㎏", "\u{345}\u{301}α"] {
            let once = normalized(name);
            assert_eq!(normalized(&once), once, "{name}");
        }
    }
}
