//! The stores that a statement can reach: the folders of the lake's tables, and no other address.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use datafusion::common::{Result, exec_err};
use datafusion::execution::object_store::ObjectStoreRegistry;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use touchline_schemas::tables::Table;
use url::Url;

use crate::engine::store_url;

/// One store for each table, under the address that scans use.
#[derive(Debug)]
pub(super) struct TableStores(HashMap<Url, Arc<dyn ObjectStore>>);

impl TableStores {
    /// The stores of the lake in the folder `lake`.
    pub(super) fn open(lake: &Path) -> Result<Self> {
        let mut stores: HashMap<Url, Arc<dyn ObjectStore>> = HashMap::new();
        for table in Table::ALL {
            let store = LocalFileSystem::new_with_prefix(lake.join(table.name()))?;
            let address = store_url(table)?;
            let address: &Url = address.as_ref();
            stores.insert(address.clone(), Arc::new(store));
        }
        Ok(Self(stores))
    }
}

impl ObjectStoreRegistry for TableStores {
    fn register_store(&self, _: &Url, _: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        match self.0.iter().find(|(known, _)| (known.scheme(), known.host()) == (url.scheme(), url.host())) {
            Some((_, store)) => Ok(Arc::clone(store)),
            None => exec_err!("nothing can be read but the tables"),
        }
    }
}
