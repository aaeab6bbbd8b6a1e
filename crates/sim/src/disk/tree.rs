//! The names of a disk: what the device holds, what the kernel holds, and the changes between the two.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Survival,
    content::{Content, Odds},
};
use crate::Prng;

/// A file or directory, whatever its name.
pub(super) type NodeId = u64;

pub(super) const ROOT: NodeId = 0;

pub(super) enum Node {
    File(Content),
    Directory(Directory),
}

#[derive(Default)]
pub(super) struct Directory {
    durable: BTreeMap<String, NodeId>,
    current: BTreeMap<String, NodeId>,
}

impl Directory {
    pub(super) fn names(&self) -> impl Iterator<Item = (&String, NodeId)> {
        self.current.iter().map(|(name, node)| (name, *node))
    }
}

/// Why a path leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// A name on the way is not there.
    NotFound,
    /// A name on the way is a file.
    NotDirectory,
}

/// Whether an unsynced change survives.
#[derive(Clone, Copy)]
enum Rule {
    /// By itself.
    Own,
    /// Exactly when that change does: the halves of a rename inside one directory.
    With(u64),
    /// Only if that change does: a rename between directories may leave both names, never none.
    After(u64),
}

struct Change {
    id: u64,
    dir: NodeId,
    name: String,
    /// `None` removes the name.
    node: Option<NodeId>,
    rule: Rule,
}

/// All nodes and names.
pub(super) struct Tree {
    nodes: BTreeMap<NodeId, Node>,
    next_id: u64,
    pending: Vec<Change>,
}

impl Tree {
    pub(super) fn new() -> Self {
        let nodes = BTreeMap::from([(ROOT, Node::Directory(Directory::default()))]);
        Self { nodes, next_id: ROOT, pending: Vec::new() }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The node of a path.
    pub(super) fn find(&self, path: &str) -> Result<NodeId, Missing> {
        parts(path).try_fold(ROOT, |node, name| {
            let directory = self.directory(node).ok_or(Missing::NotDirectory)?;
            directory.current.get(name).copied().ok_or(Missing::NotFound)
        })
    }

    pub(super) fn lookup(&self, path: &str) -> Option<NodeId> {
        self.find(path).ok()
    }

    pub(super) fn directory(&self, node: NodeId) -> Option<&Directory> {
        match self.nodes.get(&node) {
            Some(Node::Directory(directory)) => Some(directory),
            _ => None,
        }
    }

    pub(super) fn content(&mut self, node: NodeId) -> Option<&mut Content> {
        match self.nodes.get_mut(&node) {
            Some(Node::File(content)) => Some(content),
            _ => None,
        }
    }

    /// The node of a path's directory, and the path's last part.
    pub(super) fn parent<'a>(&self, path: &'a str) -> Result<(NodeId, &'a str), Missing> {
        let path = path.trim_end_matches('/');
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let node = self.find(dir)?;
        self.directory(node).map(|_| (node, name)).ok_or(Missing::NotDirectory)
    }

    /// Adds a file or directory under a free name.
    pub(super) fn add(&mut self, dir: NodeId, name: &str, node: Node) -> NodeId {
        let id = self.id();
        self.nodes.insert(id, node);
        self.change(dir, name, Some(id), Rule::Own);
        id
    }

    /// Removes a name; of a directory, all names below it too, each by itself.
    pub(super) fn remove(&mut self, dir: NodeId, name: &str) {
        let node = self.directory(dir).and_then(|directory| directory.current.get(name).copied());
        let below: Vec<String> = node
            .and_then(|node| self.directory(node))
            .map(|directory| directory.current.keys().cloned().collect())
            .unwrap_or_default();
        for inner in below {
            self.remove(node.expect("what has names is there"), &inner);
        }
        self.change(dir, name, None, Rule::Own);
    }

    pub(super) fn rename(&mut self, from: (NodeId, &str), to: (NodeId, &str)) {
        let node = self.directory(from.0).and_then(|directory| directory.current.get(from.1).copied());
        let link = self.change(to.0, to.1, node, Rule::Own);
        let rule = if from.0 == to.0 { Rule::With(link) } else { Rule::After(link) };
        self.change(from.0, from.1, None, rule);
    }

    fn change(&mut self, dir: NodeId, name: &str, node: Option<NodeId>, rule: Rule) -> u64 {
        let id = self.id();
        let change = Change { id, dir, name: name.to_owned(), node, rule };
        let Some(Node::Directory(directory)) = self.nodes.get_mut(&dir) else {
            panic!("names belong to directories");
        };
        apply(&mut directory.current, &change);
        self.pending.push(change);
        id
    }

    /// Makes the names of one directory durable, and what a removal among them depends on.
    pub(super) fn sync(&mut self, dir: NodeId) {
        let links =
            self.pending.iter().filter(|change| change.dir == dir).filter_map(|change| match change.rule {
                Rule::After(link) => self.pending.iter().find(|other| other.id == link),
                Rule::Own | Rule::With(_) => None,
            });
        let needed: Vec<(NodeId, String, u64)> =
            links.map(|link| (link.dir, link.name.clone(), link.id)).collect();
        // With a link go the older changes of its name, or they would undo it later.
        let is_needed = |change: &Change| {
            needed
                .iter()
                .any(|(dir, name, id)| change.dir == *dir && change.name == *name && change.id <= *id)
        };
        for change in std::mem::take(&mut self.pending) {
            if change.dir == dir || is_needed(&change) {
                self.make_durable(&change);
            } else {
                self.pending.push(change);
            }
        }
    }

    fn make_durable(&mut self, change: &Change) {
        if let Some(Node::Directory(directory)) = self.nodes.get_mut(&change.dir) {
            apply(&mut directory.durable, change);
        }
    }

    /// What a power loss leaves, of names and of contents.
    pub(super) fn lose_power(&mut self, survival: Survival, random: &mut Prng) {
        let odds = Odds::draw(random);
        let mut lost: BTreeSet<u64> = BTreeSet::new();
        for change in std::mem::take(&mut self.pending) {
            let survives = match (survival, change.rule) {
                (Survival::Everything, _) => true,
                (Survival::OnlySynced, _) => false,
                (_, Rule::With(other)) => !lost.contains(&other),
                (_, Rule::After(other)) => !lost.contains(&other) && odds.survives(random),
                (_, Rule::Own) => odds.survives(random),
            };
            if survives {
                self.make_durable(&change);
            } else {
                lost.insert(change.id);
            }
        }
        for node in self.nodes.values_mut() {
            match node {
                Node::File(content) => content.lose_power(survival, &odds, random),
                Node::Directory(directory) => directory.current = directory.durable.clone(),
            }
        }
        self.drop_unreachable();
    }

    fn drop_unreachable(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(node) = open.pop() {
            let Some(directory) = self.directory(node) else { continue };
            let fresh: Vec<NodeId> = directory.names().map(|(_, node)| node).collect();
            open.extend(fresh.into_iter().filter(|&node| reached.insert(node)));
        }
        self.nodes.retain(|node, _| reached.contains(node));
    }
}

fn apply(names: &mut BTreeMap<String, NodeId>, change: &Change) {
    match change.node {
        Some(node) => names.insert(change.name.clone(), node),
        None => names.remove(&change.name),
    };
}

pub(super) fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}
