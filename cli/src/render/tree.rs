//! Trees drawn with `├─`, `╰─` and `│`.

/// A line with lines below it
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Node {
    text: String,
    children: Vec<Self>,
}

impl Node {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            children: Vec::new(),
        }
    }

    pub(crate) fn with(text: impl Into<String>, children: impl IntoIterator<Item = Self>) -> Self {
        Self {
            text: text.into(),
            children: children.into_iter().collect(),
        }
    }

    pub(crate) fn push(&mut self, child: Self) {
        self.children.push(child);
    }

    /// The root's text without a prefix, then everything below it; every line ends in a newline
    pub(crate) fn draw(&self) -> String {
        let mut out = format!("{}\n", self.text);
        self.draw_children("", &mut out);
        out
    }

    fn draw_children(&self, prefix: &str, out: &mut String) {
        let last = self.children.len().saturating_sub(1);
        for (index, child) in self.children.iter().enumerate() {
            let (branch, continued) = if index == last {
                ("╰─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            out.push_str(&format!("{prefix}{branch}{}\n", child.text));
            child.draw_children(&format!("{prefix}{continued}"), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Node;

    #[test]
    fn last_children_close_their_branch() {
        let tree = Node::with(
            "root",
            [
                Node::with(
                    "a",
                    [Node::with("a1", [Node::new("deep")]), Node::new("a2")],
                ),
                Node::with("b", [Node::new("b1")]),
            ],
        );
        assert_eq!(
            tree.draw(),
            "root\n├─ a\n│  ├─ a1\n│  │  ╰─ deep\n│  ╰─ a2\n╰─ b\n   ╰─ b1\n"
        );
    }
}
