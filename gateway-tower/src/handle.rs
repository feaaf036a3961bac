//! The table that is served now, swapped as a whole while requests run.
//!
//! In: tables from `RouteTable::compile` or `Edit::finish`. Out: the newest one for each request.
//! Not here: when a table is built.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::{ArcSwap, Cache};
use gateway_core::compile::RouteTable;

/// Publishes a [`RouteTable`] to every service that holds a clone of the handle.
///
/// A request sees one table from its first byte to its last; the next request sees the next one.
#[derive(Clone)]
pub struct TableHandle(Arc<Shared>);

struct Shared {
    current: Arc<ArcSwap<RouteTable>>,
    /// Tables that requests may still look at. They are freed by whoever publishes or calls
    /// [`TableHandle::reclaim`], so that no request pays for freeing a large table.
    retired: Mutex<Vec<Arc<RouteTable>>>,
}

impl TableHandle {
    /// A handle that serves `table`.
    #[must_use]
    pub fn new(table: RouteTable) -> Self {
        Self(Arc::new(Shared {
            current: Arc::new(ArcSwap::from_pointee(table)),
            retired: Mutex::default(),
        }))
    }

    /// Serves `table` from now on.
    pub fn publish(&self, table: RouteTable) {
        let old = self.0.current.swap(Arc::new(table));
        self.retired().push(old);
        self.reclaim();
    }

    /// The table of now.
    #[must_use]
    pub fn load(&self) -> Arc<RouteTable> {
        self.0.current.load_full()
    }

    /// A view for one connection or thread, cheaper per request than [`TableHandle::load`].
    #[must_use]
    pub fn reader(&self) -> TableReader {
        TableReader(Cache::new(Arc::clone(&self.0.current)))
    }

    /// Frees replaced tables that no request looks at any more, and tells how many are left. Call
    /// it now and then where tables are large and seldom change; `publish` does it too.
    pub fn reclaim(&self) -> usize {
        let (free, in_use) =
            std::mem::take(&mut *self.retired()).into_iter().partition::<Vec<_>, _>(|table| {
                // INVARIANT: nobody can get at a retired table but through a clone that exists.
                Arc::strong_count(table) == 1
            });
        let left = in_use.len();
        self.retired().extend(in_use);
        drop(free);
        left
    }

    fn retired(&self) -> MutexGuard<'_, Vec<Arc<RouteTable>>> {
        self.0.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for TableHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableHandle").finish_non_exhaustive()
    }
}

/// Looks at the table of a [`TableHandle`], remembering it between looks.
///
/// It keeps the table that it saw last alive, so it is for connections and threads that are busy.
#[derive(Clone)]
pub struct TableReader(Cache<Arc<ArcSwap<RouteTable>>, Arc<RouteTable>>);

impl TableReader {
    /// The table of now.
    pub fn table(&mut self) -> &RouteTable {
        self.0.load()
    }
}

impl fmt::Debug for TableReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableReader").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gateway_core::{compile::RouteTable, resolve::topology::Topology};

    use super::TableHandle;

    fn table() -> RouteTable {
        RouteTable::compile(&Topology::default(), 0)
    }

    #[test]
    fn a_replaced_table_lives_as_long_as_a_request_holds_it() {
        let handle = TableHandle::new(table());
        let old = handle.load();
        handle.publish(table());
        assert!(!Arc::ptr_eq(&old, &handle.load()));
        assert_eq!(handle.reclaim(), 1);
        drop(old);
        assert_eq!(handle.reclaim(), 0);
    }

    #[test]
    fn a_reader_sees_the_newest_table() {
        let handle = TableHandle::new(table());
        let mut reader = handle.reader();
        let before: *const RouteTable = reader.table();
        assert!(std::ptr::eq(before, reader.table()));
        handle.publish(table());
        assert!(!std::ptr::eq(before, reader.table()));
        assert!(std::ptr::eq(&*handle.load(), reader.table()));
    }
}
