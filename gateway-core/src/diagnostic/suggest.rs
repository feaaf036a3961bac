//! Guessing what a misspelt name was meant to be.

/// The candidate nearest to `word`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let most = (word.chars().count() * 2 / 5).clamp(1, 3);
    let near = |candidate: &'a str| {
        let distance =
            if candidate.eq_ignore_ascii_case(word) { 0 } else { distance(word, candidate) };
        (distance <= most).then_some((distance, candidate))
    };
    candidates
        .into_iter()
        .filter_map(near)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits that turn one word into the other: insert, delete or replace a character.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, expected: Option<&str>) {
        let fields = [
            "name",
            "matches",
            "filters",
            "backendRefs",
            "timeouts",
            "retry",
            "sessionPersistence",
        ];
        assert_eq!(nearest(word, fields), expected, "{word:?}");
    }

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        check("match", Some("matches"));
        check("backendrefs", Some("backendRefs"));
        check("backends", Some("backendRefs"));
        check("timeout", Some("timeouts"));
        check("filtres", Some("filters"));
        check("weight", None);
        check("x", None);
        check(&"a".repeat(1000), None);
    }
}
