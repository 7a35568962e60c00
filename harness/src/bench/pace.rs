//! Sessions that write single rows as fast as they can, and what each transaction took them.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow};
use postgres::Client;

use crate::cluster::TestDatabase;
use crate::replay::milliseconds;

/// Creates what the writers write to: accounts of a thousand groups.
pub fn schema(rows: u64) -> String {
    format!(
        "CREATE TABLE account (k int PRIMARY KEY, g int NOT NULL, v int NOT NULL); \
         INSERT INTO account SELECT i, i % 1000, i FROM generate_series(1, {rows}) i"
    )
}

/// The query that sums the accounts up.
pub const QUERY: &str = "SELECT g, count(*) AS n, sum(v) AS s FROM account GROUP BY g";

/// Lets writers write, each to accounts of its own, while `work` is done. Returns the milliseconds of every transaction
/// and of all of it together.
pub fn writing_while(
    database: &TestDatabase,
    writers: usize,
    rows: u64,
    work: impl FnOnce() -> Result<()>,
) -> Result<(Vec<f64>, f64)> {
    let is_over = AtomicBool::new(false);
    let mut sessions: Vec<Client> = (0..writers).map(|_| database.connect()).collect::<Result<_>>()?;
    // The work begins when everyone has made one transaction, and nobody ends without another one.
    let start = Barrier::new(writers + 1);
    let write = |number: usize, session: &mut Client| -> Result<Vec<f64>> {
        let sql = "UPDATE account SET v = v + 1 WHERE k = $1";
        let ready =
            session.prepare(sql).and_then(|one| session.execute(&one, &[&(number as i32 + 1)]).map(|_| one));
        start.wait();
        let statement = ready?;
        let mut times = Vec::new();
        let mut turn = 1;
        while times.is_empty() || !is_over.load(Ordering::Relaxed) {
            let key = (turn * writers as u64 + number as u64) % rows + 1;
            let clock = Instant::now();
            session.execute(&statement, &[&(key as i32)])?;
            times.push(milliseconds(clock));
            turn += 1;
        }
        Ok(times)
    };
    thread::scope(|scope| {
        let write = &write;
        let running: Vec<_> = sessions
            .iter_mut()
            .enumerate()
            .map(|(number, session)| scope.spawn(move || write(number, session)))
            .collect();
        start.wait();
        let clock = Instant::now();
        let outcome = work();
        let took = milliseconds(clock);
        is_over.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        for writer in running {
            times.extend(writer.join().map_err(|_| anyhow!("a writer panicked"))??);
        }
        outcome.map(|()| (times, took))
    })
}
