//! The fake disk as the engine sees it.

use std::sync::Arc;

use esker_io::{
    Disk, File,
    disk::{Entry, Result},
};

use super::{
    FakeDisk, Operation,
    content::Content,
    tree::{self, Directory, Missing, Node, NodeId},
};

impl Disk for FakeDisk {
    fn open(&self, path: &str) -> Result<Arc<dyn File>> {
        let operation = Operation { name: "open", path };
        let node = self.read(&operation, |state| {
            let node = state.find(&operation, path)?;
            state.tree.content(node).ok_or_else(|| operation.failed("is a directory"))?;
            Ok(node)
        })?;
        Ok(self.file(node, path))
    }

    fn create(&self, path: &str) -> Result<Arc<dyn File>> {
        let operation = Operation { name: "create", path };
        let node = self.change(&operation, |state| {
            let (dir, name) = state.parent(&operation, path)?;
            if name.is_empty() || state.tree.lookup(path).is_some() {
                return Err(operation.failed("file exists"));
            }
            Ok(state.tree.add(dir, name, Node::File(Content::default())))
        })?;
        Ok(self.file(node, path))
    }

    fn list(&self, dir: &str) -> Result<Vec<Entry>> {
        let operation = Operation { name: "list", path: dir };
        self.read(&operation, |state| {
            let node = match state.tree.find(dir) {
                Err(Missing::NotFound) => return Ok(Vec::new()),
                found => found.map_err(|missing| operation.missing(missing))?,
            };
            let directory = state.tree.directory(node).ok_or_else(|| operation.failed("not a directory"))?;
            let is_directory = |node| state.tree.directory(node).is_some();
            let entry =
                |(name, node): (&String, NodeId)| Entry { name: name.clone(), directory: is_directory(node) };
            Ok(directory.names().map(entry).collect())
        })
    }

    fn create_dir(&self, dir: &str) -> Result<()> {
        let operation = Operation { name: "create directory", path: dir };
        self.change(&operation, |state| {
            let mut node = tree::ROOT;
            for name in tree::parts(dir) {
                let directory =
                    state.tree.directory(node).ok_or_else(|| operation.failed("not a directory"))?;
                let known = directory.names().find(|(known, _)| *known == name).map(|(_, node)| node);
                node = match known {
                    Some(node) => node,
                    None => state.tree.add(node, name, Node::Directory(Directory::default())),
                };
            }
            match state.tree.directory(node) {
                Some(_) => Ok(()),
                None => Err(operation.failed("file exists")),
            }
        })
    }

    fn remove(&self, path: &str) -> Result<()> {
        let operation = Operation { name: "remove", path };
        self.change(&operation, |state| {
            let node = state.find(&operation, path)?;
            state.tree.content(node).ok_or_else(|| operation.failed("is a directory"))?;
            let (dir, name) = state.parent(&operation, path)?;
            state.tree.remove(dir, name);
            Ok(())
        })
    }

    fn remove_dir(&self, dir: &str) -> Result<()> {
        let operation = Operation { name: "remove directory", path: dir };
        self.change(&operation, |state| {
            let node = state.find(&operation, dir)?;
            if node == tree::ROOT {
                return Err(operation.failed("the root itself is not removed"));
            }
            state.tree.directory(node).ok_or_else(|| operation.failed("not a directory"))?;
            let (parent, name) = state.parent(&operation, dir)?;
            state.tree.remove(parent, name);
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let path = format!("{from} to {to}");
        let operation = Operation { name: "rename", path: &path };
        Operation { name: "rename", path: from }.check()?;
        Operation { name: "rename", path: to }.check()?;
        self.change(&operation, |state| {
            let (source, target) = (state.parent(&operation, from)?, state.parent(&operation, to)?);
            if state.find(&operation, from)? == tree::ROOT {
                return Err(operation.failed("the root itself is not renamed"));
            }
            if state.tree.lookup(to).is_some() {
                return Err(operation.failed("file exists"));
            }
            if to.starts_with(&format!("{}/", from.trim_end_matches('/'))) {
                return Err(operation.failed("a directory does not move below itself"));
            }
            state.tree.rename(source, target);
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &str) -> Result<()> {
        let operation = Operation { name: "sync directory", path: dir };
        self.change(&operation, |state| {
            let node = state.find(&operation, dir)?;
            state.tree.directory(node).ok_or_else(|| operation.failed("not a directory"))?;
            if state.broken || state.random.chance(state.faults.sync_error_ppm) {
                return Err(operation.failed("input/output error"));
            }
            state.tree.sync(node);
            Ok(())
        })
    }
}
