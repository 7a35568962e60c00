//! Where a workload runs: a server, the sizes asked for, and databases with what contestants need.

use std::sync::Arc;

use anyhow::Result;
use postgres::Client;

use super::command::Sizes;
use crate::cluster::{Cluster, TestDatabase};
use crate::replay::{Mode, Session, Subject};

/// A server and the sizes of what is run on it.
pub struct Ground {
    pub cluster: Arc<dyn Cluster>,
    pub sizes: Sizes,
}

/// A database of one case or of several over the same tables, with a session.
pub struct Place {
    // Dropped before the database is, or it would wait for its end.
    pub session: Session,
    pub database: TestDatabase,
}

impl Ground {
    /// A database with the extension, and a schema for each kind of contestant that is no stream table.
    pub fn place(&self) -> Result<Place> {
        let database = TestDatabase::create_empty(Arc::clone(&self.cluster))?;
        let mut session = Session::open(self.cluster.as_ref(), database.name())?;
        self.subject().prepare(&mut session.client)?;
        session.client.batch_execute("CREATE SCHEMA concurrent; CREATE SCHEMA by_hand")?;
        Ok(Place { session, database })
    }

    /// Stream tables in the first of the modes asked for.
    pub fn subject(&self) -> Subject {
        Subject::StreamTables { mode: self.mode() }
    }

    /// The first of the modes asked for.
    pub fn mode(&self) -> Mode {
        self.sizes.modes.first().copied().unwrap_or(Mode::Differential)
    }

    /// The numbers of the cycles, and whether each is measured.
    pub fn cycles(&self) -> impl Iterator<Item = (u32, bool)> + use<> {
        let warm_up = self.sizes.warm_up;
        (1..=warm_up + self.sizes.cycles).map(move |number| (number, number > warm_up))
    }
}

/// As after some time of use: pages tidy, statistics of all tables collected.
pub fn settle(client: &mut Client) -> Result<()> {
    Ok(client.batch_execute("VACUUM ANALYZE")?)
}
