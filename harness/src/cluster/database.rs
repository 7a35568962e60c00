//! How a test gets its server and its database.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use postgres::{Client, NoTls};

use super::selection::{DEFAULT_MAJOR, wanted_backend, wanted_majors};
use super::{Cluster, ClusterOptions, LocalCluster, SharedCluster, StartedCluster};
use crate::package::Server;
use crate::provision::plan::{self, Supply, Version};

/// Leaves roles and other schemas alone, which isolation specs do not make.
const EMPTY: &str = "
    DO $$
    DECLARE
        name text;
    BEGIN
        LOOP
            SELECT format('%I.%I', pgt_schema, pgt_name) INTO name FROM pgtrickle.pgt_stream_tables LIMIT 1;
            EXIT WHEN NOT FOUND;
            PERFORM pgtrickle.drop_stream_table(name, true);
        END LOOP;
    END
    $$;
    DROP SCHEMA public CASCADE;
    CREATE SCHEMA public AUTHORIZATION pg_database_owner;
    GRANT USAGE ON SCHEMA public TO PUBLIC";

/// Tables and sequences that stream tables have of their own, and rows about them.
const LEFT_BEHIND: &str = "
    SELECT string_agg(what, ', ' ORDER BY what) FROM (
        SELECT oid::regclass::text AS what FROM pg_class
        WHERE relnamespace IN ('pgtrickle_state'::regnamespace, 'pgtrickle_changes'::regnamespace)
        UNION ALL SELECT format('dependency on %s', source_relid) FROM pgtrickle.pgt_dependencies
        UNION ALL SELECT format('buffer of %s', source_relid) FROM pgtrickle.pgt_change_tracking
        UNION ALL SELECT format('progress of %s', pgt_id) FROM pgtrickle.pgt_progress
    ) AS found";

/// A database of a test's own, with the extension created in it. Dropped with its value.
pub struct TestDatabase {
    cluster: Arc<dyn Cluster>,
    name: String,
}

impl TestDatabase {
    /// Creates a database in a cluster, without the extension.
    pub fn create_empty(cluster: Arc<dyn Cluster>) -> Result<TestDatabase> {
        let name = cluster.create_database()?;
        Ok(TestDatabase { cluster, name })
    }

    /// Creates a database in a cluster, with the extension.
    pub fn create(cluster: Arc<dyn Cluster>) -> Result<TestDatabase> {
        let database = TestDatabase::create_empty(cluster)?;
        database
            .connect()?
            .batch_execute("CREATE EXTENSION pg_trickle")
            .with_context(|| format!("CREATE EXTENSION failed; {}", database.cluster.log_tail(20)))?;
        Ok(database)
    }

    /// Opens a session as superuser.
    pub fn connect(&self) -> Result<Client> {
        self.cluster.connect(&self.name)
    }

    /// Opens a session as another role.
    pub fn connect_as(&self, role: &str) -> Result<Client> {
        let mut config: postgres::Config = self.conninfo().parse()?;
        config.user(role);
        config.connect(NoTls).with_context(|| format!("cannot connect to {} as {role}", self.name))
    }

    /// Connection string of the database.
    pub fn conninfo(&self) -> String {
        self.cluster.conninfo(&self.name)
    }

    /// Drops every stream table and the schema `public`, so that the database is as new; fails if the extension leaves
    /// something behind.
    pub fn empty(&self) -> Result<()> {
        let mut session = self.connect()?;
        session.batch_execute(EMPTY).context("cannot empty the database")?;
        // What a creation that was rolled back has captured is for the scheduler to find, which may take its time.
        session.batch_execute("SELECT pgtrickle.collect_changes()")?;
        let left: Option<String> = session.query_one(LEFT_BEHIND, &[])?.get(0);
        ensure!(
            left.is_none(),
            "left behind by stream tables that were dropped: {}",
            left.unwrap_or_default()
        );
        Ok(())
    }

    /// Name of the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server that the database is in.
    pub fn cluster(&self) -> &Arc<dyn Cluster> {
        &self.cluster
    }

    fn remove(&self) -> Result<()> {
        self.cluster.administer(&mut |session| {
            // A prepared transaction that a failed test left keeps the database from being dropped.
            let prepared = "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = $1";
            for row in session.query(prepared, &[&self.name])? {
                let gid: String = row.get(0);
                self.connect()?.batch_execute(&format!("ROLLBACK PREPARED '{}'", gid.replace('\'', "''")))?;
            }
            Ok(session.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name))?)
        })
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("harness: the end of the server's log:\n{}", self.cluster.log_tail(30));
        }
        if let Err(error) = self.remove() {
            // The server goes away with the run, so a database left behind harms nobody; it is worth a line.
            eprintln!("harness: database {} was not dropped: {error:#}", self.name);
        }
    }
}

/// A database with the extension, in the server that the run offers or in a private one.
pub fn test_database() -> Result<TestDatabase> {
    TestDatabase::create(test_cluster()?)
}

/// The server that the run offers, or one that this process starts and shares among its tests.
pub fn test_cluster() -> Result<Arc<dyn Cluster>> {
    if let Some(shared) = SharedCluster::offered()? {
        return Ok(Arc::new(shared));
    }
    // Never dropped, being static; its keeper stops the server when the process ends.
    static OWN: Mutex<Option<Arc<dyn Cluster>>> = Mutex::new(None);
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cluster) = own.as_ref() {
        return Ok(Arc::clone(cluster));
    }
    let cluster = private_cluster(&ClusterOptions::default())?;
    *own = Some(Arc::clone(&cluster));
    Ok(cluster)
}

/// A server of the test's own, of the version under test.
pub fn private_cluster(options: &ClusterOptions) -> Result<Arc<dyn Cluster>> {
    let major = match SharedCluster::offered()? {
        Some(shared) => shared.major,
        None => wanted_majors()?.and_then(|majors| majors.first().copied()).unwrap_or(DEFAULT_MAJOR),
    };
    private_cluster_of(major, options)
}

/// A server of the caller's own, of a given version, with the extension packaged for it.
pub fn private_cluster_of(major: u32, options: &ClusterOptions) -> Result<Arc<dyn Cluster>> {
    let version = Version { major, supply: plan::supply_one(major, wanted_backend()?)? };
    Ok(StartedCluster::start(&version, options)?.into_cluster())
}

/// A server of the caller's own, of a given version, that has not loaded the extension.
pub fn private_plain_cluster_of(major: u32, options: &ClusterOptions) -> Result<Arc<dyn Cluster>> {
    let options = options.clone().without_preload();
    let version = Version { major, supply: plan::supply_one(major, wanted_backend()?)? };
    if let Supply::Local(installation) = &version.supply {
        // Without the extension's build, which takes its time.
        return Ok(Arc::new(LocalCluster::start_new(&Server::plain(installation)?, &options)?));
    }
    Ok(StartedCluster::start(&version, &options)?.into_cluster())
}
