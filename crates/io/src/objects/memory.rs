//! Objects in this process's memory, for trying things out and for tests.

use std::{collections::BTreeMap, sync::Weak};

use bytes::Bytes;

use super::{Listed, Objects, Range, Result, StoreError, StoreErrorKind, name};
use crate::{
    BoxFuture,
    sync::{Arc, Mutex},
};

/// Objects in memory. They last as long as somebody holds the store.
#[derive(Debug)]
pub struct MemoryObjects {
    label: String,
    objects: Mutex<BTreeMap<String, Bytes>>,
}

/// The stores of this process by name, so that two openings of one URL see one store.
static STORES: Mutex<BTreeMap<String, Weak<MemoryObjects>>> = Mutex::new(BTreeMap::new());

impl MemoryObjects {
    /// A store of its own, that no URL reaches.
    pub fn new() -> Self {
        Self::called("")
    }

    /// The process's store of this name.
    pub fn shared(name: &str) -> Arc<Self> {
        let mut stores = STORES.lock();
        if let Some(store) = stores.get(name).and_then(Weak::upgrade) {
            return store;
        }
        stores.retain(|_, store| store.strong_count() > 0);
        let store = Arc::new(Self::called(name));
        stores.insert(name.to_owned(), Arc::downgrade(&store));
        store
    }

    fn called(name: &str) -> Self {
        Self { label: format!("memory://{name}"), objects: Mutex::new(BTreeMap::new()) }
    }

    fn put_now(&self, name: &str, body: Bytes) -> Result<()> {
        name::check_object("put", name)?;
        let mut objects = self.objects.lock();
        if objects.contains_key(name) {
            return Err(StoreError::new(
                StoreErrorKind::Exists,
                "put",
                name,
                "an object of that name exists",
            ));
        }
        objects.insert(name.to_owned(), body);
        Ok(())
    }

    fn get_now(&self, name: &str, range: Range) -> Result<Bytes> {
        name::check_object("get", name)?;
        let body = self.objects.lock().get(name).cloned();
        let Some(body) = body else {
            return Err(StoreError::new(StoreErrorKind::NotFound, "get", name, "no object of that name"));
        };
        let size = body.len() as u64;
        let part = range.within(size).ok_or_else(|| name::beyond_end(name, range, size))?;
        Ok(body.slice(part.start as usize..part.end as usize))
    }

    fn list_now(&self, prefix: &str) -> Result<Vec<Listed>> {
        name::check_prefix("list", prefix)?;
        let objects = self.objects.lock();
        let below = objects.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        Ok(below.map(|(name, body)| Listed { name: name.clone(), bytes: body.len() as u64 }).collect())
    }
}

impl Default for MemoryObjects {
    fn default() -> Self {
        Self::new()
    }
}

impl Objects for MemoryObjects {
    fn put_new<'a>(&'a self, name: &'a str, body: Bytes) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.put_now(name, body) })
    }

    fn get<'a>(&'a self, name: &'a str, range: Range) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(async move { self.get_now(name, range) })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Listed>>> {
        Box::pin(async move { self.list_now(prefix) })
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            name::check_object("delete", name)?;
            self.objects.lock().remove(name);
            Ok(())
        })
    }

    fn describe(&self) -> String {
        self.label.clone()
    }
}
