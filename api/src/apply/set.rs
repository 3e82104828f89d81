//! A set of paths into an object: who owns what is written in them. Source: `fieldpath/set.go` of
//! `sigs.k8s.io/structured-merge-diff`.

use super::element::Element;

/// Paths, as a tree. A path may be in the set without those below it, and the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    nodes: Vec<Node>,
}

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    element: Element,
    /// The path that ends here is in the set.
    member: bool,
    below: Set,
}

impl Set {
    /// The set of these paths of fields: `["metadata", "name"]`.
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let path: Vec<_> = path.iter().map(|name| Element::field(name)).collect();
            set.insert(&path);
        }
        set
    }

    /// No path is in it.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds a path.
    pub fn insert(&mut self, path: &[Element]) {
        if let [first, rest @ ..] = path {
            let node = self.node(first);
            if rest.is_empty() {
                node.member = true;
            } else {
                node.below.insert(rest);
            }
        }
    }

    /// Adds all of a set under an element, and the element itself where it is a member.
    pub fn attach(&mut self, element: Element, member: bool, below: Set) {
        if !member && below.is_empty() {
            return;
        }
        match self.find(&element) {
            Ok(at) => {
                let node = &mut self.nodes[at];
                node.member |= member;
                node.below = if node.below.is_empty() { below } else { node.below.union(&below) };
            }
            Err(at) => self.nodes.insert(at, Node { element, member, below }),
        }
    }

    fn node(&mut self, element: &Element) -> &mut Node {
        let at = match self.find(element) {
            Ok(at) => at,
            Err(at) => {
                self.nodes.insert(at, Node { element: element.clone(), member: false, below: Set::default() });
                at
            }
        };
        &mut self.nodes[at]
    }

    fn find(&self, element: &Element) -> Result<usize, usize> {
        // Most sets are built in order.
        match self.nodes.last() {
            Some(last) if last.element < *element => Err(self.nodes.len()),
            _ => self.nodes.binary_search_by(|node| node.element.cmp(element)),
        }
    }

    /// The path is in it.
    pub fn has(&self, path: &[Element]) -> bool {
        let [first, rest @ ..] = path else { return false };
        let Ok(at) = self.find(first) else { return false };
        if rest.is_empty() { self.nodes[at].member } else { self.nodes[at].below.has(rest) }
    }

    /// The path of this one element is in it.
    pub fn has_element(&self, element: &Element) -> bool {
        self.find(element).is_ok_and(|at| self.nodes[at].member)
    }

    /// What lies below an element; `None` for nothing.
    pub fn below(&self, element: &Element) -> Option<&Set> {
        let at = self.find(element).ok()?;
        Some(&self.nodes[at].below).filter(|below| !below.is_empty())
    }

    /// Its top elements, whether the path that ends there is in the set, and what lies below, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Element, bool, &Set)> {
        self.nodes.iter().map(|node| (&node.element, node.member, &node.below))
    }

    /// All paths in upstream's order: the ends here, then what lies below each element.
    pub fn paths(&self) -> Vec<Vec<Element>> {
        let mut paths = Vec::new();
        self.collect(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect(&self, prefix: &mut Vec<Element>, paths: &mut Vec<Vec<Element>>) {
        for node in self.nodes.iter().filter(|node| node.member) {
            paths.push(prefix.iter().chain([&node.element]).cloned().collect());
        }
        for node in &self.nodes {
            prefix.push(node.element.clone());
            node.below.collect(prefix, paths);
            prefix.pop();
        }
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Set) -> Set {
        let mut nodes = Vec::with_capacity(self.nodes.len().max(other.nodes.len()));
        let (mut ours, mut theirs) = (self.nodes.iter().peekable(), other.nodes.iter().peekable());
        loop {
            match (ours.peek(), theirs.peek()) {
                (Some(a), Some(b)) if a.element == b.element => {
                    let (member, below) = (a.member || b.member, a.below.union(&b.below));
                    nodes.push(Node { element: a.element.clone(), member, below });
                    ours.next();
                    theirs.next();
                }
                (Some(a), Some(b)) if a.element < b.element => nodes.extend(ours.next().cloned()),
                (Some(_), None) => nodes.extend(ours.next().cloned()),
                (_, Some(_)) => nodes.extend(theirs.next().cloned()),
                (None, None) => return Set { nodes },
            }
        }
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Set) -> Set {
        self.filter(|node| {
            let at = other.find(&node.element).ok()?;
            let same = &other.nodes[at];
            Some((node.member && same.member, node.below.intersection(&same.below)))
        })
    }

    /// What is in this one and not in the other. A path says nothing about those below it.
    #[must_use]
    pub fn difference(&self, other: &Set) -> Set {
        if other.is_empty() {
            return self.clone();
        }
        self.filter(|node| match other.find(&node.element) {
            Ok(at) => {
                let same = &other.nodes[at];
                Some((node.member && !same.member, node.below.difference(&same.below)))
            }
            Err(_) => Some((node.member, node.below.clone())),
        })
    }

    /// What is in this one and neither in the other nor below a path in it.
    #[must_use]
    pub fn without_trees(&self, other: &Set) -> Set {
        if other.is_empty() {
            return self.clone();
        }
        self.filter(|node| match other.find(&node.element) {
            Ok(at) if other.nodes[at].member => None,
            Ok(at) => Some((node.member, node.below.without_trees(&other.nodes[at].below))),
            Err(_) => Some((node.member, node.below.clone())),
        })
    }

    fn filter(&self, mut keep: impl FnMut(&Node) -> Option<(bool, Set)>) -> Set {
        let kept = self.nodes.iter().filter_map(|node| {
            let (member, below) = keep(node)?;
            (member || !below.is_empty()).then(|| Node { element: node.element.clone(), member, below })
        });
        Set { nodes: kept.collect() }
    }
}

/// A path as messages write it: `.spec.containers[name="web"].image`.
pub fn path_text(path: &[Element]) -> String {
    path.iter().map(Element::to_string).collect()
}

impl FromIterator<Vec<Element>> for Set {
    fn from_iter<T: IntoIterator<Item = Vec<Element>>>(paths: T) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(&path);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(paths: &[&str]) -> Set {
        let path = |text: &&str| text.split('.').map(Element::field).collect::<Vec<_>>();
        paths.iter().map(path).collect()
    }

    fn text(set: &Set) -> String {
        set.paths().iter().map(|path| path_text(path)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn sets_can_be_reckoned_with() {
        let (a, b) = (set(&["a", "a.b", "c.d", "e"]), set(&["a", "c", "c.d", "f"]));
        assert_eq!(text(&a.union(&b)), ".a .c .e .f .a.b .c.d");
        assert_eq!(text(&a.intersection(&b)), ".a .c.d");
        assert_eq!(text(&a.difference(&b)), ".e .a.b");
        assert_eq!(text(&b.difference(&a)), ".c .f");
        assert_eq!(text(&a.without_trees(&b)), ".e");
        assert_eq!(a.difference(&a), Set::default());
        assert!(a.has(&[Element::field("c"), Element::field("d")]) && !a.has(&[Element::field("c")]));
        assert_eq!(a.below(&Element::field("c")).map(text).as_deref(), Some(".d"));
        assert_eq!(a.below(&Element::field("e")), None);
    }
}
