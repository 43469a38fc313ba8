//! `{a,b}` in globs. The problem: alternatives may contain `/`, so a glob can't be split into folders before its braces
//! are multiplied out.

/// More alternatives than this are refused.
const MOST: usize = 256;

/// Every alternative of a glob, in order. `None`: too many. The glob is known to be well-formed.
pub(super) fn expand(glob: &str) -> Option<Vec<String>> {
    let mut open = vec![glob.to_owned()];
    let mut done = Vec::new();
    while let Some(text) = open.pop() {
        match first_group(&text) {
            None => done.push(text),
            Some((begin, end, commas)) => {
                let mut from = begin + 1;
                let mut alternatives = Vec::new();
                for to in commas.into_iter().chain([end]) {
                    alternatives.push(format!("{}{}{}", &text[..begin], &text[from..to], &text[end + 1..]));
                    from = to + 1;
                }
                open.extend(alternatives.into_iter().rev());
            }
        }
        if open.len() + done.len() > MOST {
            return None;
        }
    }
    Some(done)
}

/// Where the first group begins and ends, and its own commas. Escaped characters and `[..]` don't count.
fn first_group(text: &str) -> Option<(usize, usize, Vec<usize>)> {
    let bytes = text.as_bytes();
    let (mut begin, mut depth, mut commas) = (0, 0, Vec::new());
    let mut i = 0;
    while i < bytes.len() {
        match bytes[i] {
            b'\\' => i += 1,
            b'[' => i = class_end(bytes, i),
            b'{' => {
                if depth == 0 {
                    begin = i;
                }
                depth += 1;
            }
            b',' if depth == 1 => commas.push(i),
            b'}' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    return Some((begin, i, commas));
                }
            }
            _ => {}
        }
        i += 1;
    }
    None
}

/// The `]` of the class that begins here. A `]` right at the beginning belongs to the class.
fn class_end(bytes: &[u8], begin: usize) -> usize {
    let mut i = begin + 1;
    if matches!(bytes.get(i), Some(b'!' | b'^')) {
        i += 1;
    }
    (i + 1..bytes.len()).find(|i| bytes[*i] == b']').unwrap_or(begin)
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn groups_are_multiplied_out_in_order() {
        assert_eq!(expand("/a/*.log").unwrap(), ["/a/*.log"]);
        assert_eq!(expand("/{a,b/c}/{1,2}").unwrap(), ["/a/1", "/a/2", "/b/c/1", "/b/c/2"]);
        assert_eq!(expand("/x{a,{b,c}d}").unwrap(), ["/xa", "/xbd", "/xcd"]);
        assert_eq!(expand("/x{,.1}").unwrap(), ["/x", "/x.1"]);
    }

    #[test]
    fn escapes_and_classes_are_left_alone() {
        assert_eq!(expand(r"/\{a,b\}").unwrap(), [r"/\{a,b\}"]);
        assert_eq!(expand("/[{]a,b[}]").unwrap(), ["/[{]a,b[}]"]);
        assert_eq!(expand("/[]{]{a,b}").unwrap(), ["/[]{]a", "/[]{]b"]);
    }

    #[test]
    fn a_glob_that_explodes_is_refused() {
        assert!(expand(&"{a,b}".repeat(8)).is_some());
        assert!(expand(&"{a,b}".repeat(40)).is_none());
    }
}
