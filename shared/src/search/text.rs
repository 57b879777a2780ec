//! What people type into a search box: words, `"phrases"`, `-exclusions`.

/// More words than this are passed over: each makes the search slower.
const MOST_WORDS: usize = 50;

/// All parts are runs of letters and digits in lower case, those of a phrase with one space between.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SearchText {
    /// Any of them is enough; also those of the phrases.
    pub(super) words: Vec<String>,
    pub(super) phrases: Vec<String>,
    pub(super) exclusions: Vec<String>,
}

impl SearchText {
    pub(super) fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (excluded, part) = match rest.strip_prefix('-') {
                Some(part) => (true, part),
                None => (false, rest),
            };
            let (content, quoted, behind) = first(part);
            parsed.add(words(content), quoted, excluded);
            rest = behind.trim_start();
        }
        parsed.words.truncate(MOST_WORDS);
        parsed
    }

    fn add(&mut self, words: Vec<String>, quoted: bool, excluded: bool) {
        if words.is_empty() {
            return;
        }
        if excluded {
            self.exclusions.push(words.join(" "));
            return;
        }
        if quoted {
            self.phrases.push(words.join(" "));
        }
        // One server takes it for an operator, and it finds nothing of worth on any.
        self.words.extend(words.into_iter().filter(|word| word != "or"));
    }
}

/// The first part, whether it is quoted, and what is behind it. A quote that is not closed is none.
fn first(text: &str) -> (&str, bool, &str) {
    if let Some(open) = text.strip_prefix('"')
        && let Some((content, behind)) = open.split_once('"')
    {
        return (content, true, behind);
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (&text[..end], false, &text[end..])
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

/// A regular expression for the words of a phrase in this order, with nothing but punctuation and space between.
///
/// Letters and digits need no escape.
pub(super) fn pattern(phrase: &str) -> String {
    let words = phrase.split(' ').collect::<Vec<_>>().join(r"[^\p{L}\p{N}]+");
    format!(r"(^|[^\p{{L}}\p{{N}}]){words}($|[^\p{{L}}\p{{N}}])")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, String) {
        let SearchText { words, phrases, exclusions } = SearchText::parse(text);
        (words.join(","), phrases.join(","), exclusions.join(","))
    }

    #[test]
    fn words_phrases_and_exclusions_are_told_apart() {
        let text = |words: &str, phrases: &str, exclusions: &str| {
            (words.to_owned(), phrases.to_owned(), exclusions.to_owned())
        };
        assert_eq!(parts("Red shoe"), text("red,shoe", "", ""));
        assert_eq!(parts(r#""red shoe" -Blue hat"#), text("red,shoe,hat", "red shoe", "blue"));
        assert_eq!(parts(r#"shoe -"fine running""#), text("shoe", "", "fine running"));
        assert_eq!(parts("-only"), text("", "", "only"));
        assert_eq!(parts("AB-1234/x or & | ! ()"), text("ab,1234,x", "", ""));
        assert_eq!(parts(r#"un"closed "quote"#), text("un,closed,quote", "", ""));
        assert_eq!(parts(" \u{0}\"\" - "), text("", "", ""));
    }
}
