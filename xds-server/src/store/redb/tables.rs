//! What is in the tables of a store's file.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use ::redb::{
    Database, Error, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    Table, TableDefinition, TableError, WriteTransaction,
};

use super::Fault;
use crate::placement::{InstanceName, LeaseRecord, Revocation, RevocationId};
use crate::store::format::{self, FORMAT};
use crate::store::{
    Batch, Damage, HistoryLimits, HistoryQuery, Loaded, PastRecord, Stamp, UnixMillis, Unusable,
};

/// Whether the first commit has not been made.
pub(super) fn is_new(database: &Database) -> Result<bool, Error> {
    let transaction = database.begin_read()?;
    let mut tables = transaction.list_tables()?;
    Ok(tables.next().is_none() && transaction.list_multimap_tables()?.next().is_none())
}

pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), Error> {
    let mut meta = transaction.open_table(META)?;
    meta.insert(META_FORMAT, FORMAT)?;
    transaction.open_table(LEASES)?;
    transaction.open_table(ADDRESSES)?;
    transaction.open_table(DRAINED)?;
    transaction.open_table(QUARANTINED)?;
    transaction.open_table(REVOCATIONS)?;
    transaction.open_table(PAST)?;
    Ok(())
}

pub(super) fn read(database: &Database, stamp: Stamp) -> Result<Loaded, Fault> {
    let transaction = database.begin_read().map_err(Error::from)?;
    let meta = transaction.open_table(META).map_err(foreign)?;
    let number = |key| match meta.get(key) {
        Ok(number) => Ok(number.map(|number| number.value())),
        Err(error) => Err(Error::from(error)),
    };
    match number(META_FORMAT)? {
        Some(found) if found > FORMAT => {
            let known = FORMAT;
            return Err(Unusable::Newer { found, known }.into());
        }
        Some(_) => {}
        None => return Err(Damage::Foreign.into()),
    }
    let learnt = number(META_LEARNT)?.is_some();
    Ok(Loaded {
        term: number(META_TERM)?.unwrap_or(0),
        leases: learnt
            .then(|| read_leases(&transaction, stamp))
            .transpose()?,
        addresses: read_addresses(&transaction)?,
        drained: read_names(&transaction, DRAINED)?,
        quarantined: read_names(&transaction, QUARANTINED)?,
        revocations: read_revocations(&transaction, stamp)?,
        set_aside: None,
        torn: false,
    })
}

fn read_leases(transaction: &ReadTransaction, stamp: Stamp) -> Result<Vec<LeaseRecord>, Fault> {
    let table = transaction.open_table(LEASES).map_err(foreign)?;
    let mut leases = Vec::new();
    for entry in table.iter().map_err(Error::from)? {
        let (instance, bytes) = entry.map_err(Error::from)?;
        let instance = InstanceName::from(instance.value());
        let lease = format::decode_lease(stamp, instance, bytes.value()).map_err(Damage::from)?;
        leases.push(lease);
    }
    Ok(leases)
}

fn read_addresses(
    transaction: &ReadTransaction,
) -> Result<BTreeMap<InstanceName, SocketAddr>, Fault> {
    let table = match transaction.open_table(ADDRESSES) {
        // It was not kept from the beginning.
        Err(TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
        table => table.map_err(foreign)?,
    };
    let mut addresses = BTreeMap::new();
    for entry in table.iter().map_err(Error::from)? {
        let (instance, address) = entry.map_err(Error::from)?;
        let address = format::decode_address(address.value()).map_err(Damage::from)?;
        addresses.insert(InstanceName::from(instance.value()), address);
    }
    Ok(addresses)
}

fn read_revocations(transaction: &ReadTransaction, stamp: Stamp) -> Result<Vec<Revocation>, Fault> {
    let table = match transaction.open_table(REVOCATIONS) {
        // Format 1 had none.
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        table => table.map_err(foreign)?,
    };
    let mut revocations = Vec::new();
    for entry in table.iter().map_err(Error::from)? {
        let (id, bytes) = entry.map_err(Error::from)?;
        let (term, sequence) = id.value();
        let id = RevocationId { term, sequence };
        let revocation = format::decode_revocation(stamp, id, bytes.value());
        revocations.push(revocation.map_err(Damage::from)?);
    }
    Ok(revocations)
}

fn read_names(
    transaction: &ReadTransaction,
    table: TableDefinition<&str, ()>,
) -> Result<BTreeSet<InstanceName>, Fault> {
    let table = transaction.open_table(table).map_err(foreign)?;
    let mut names = BTreeSet::new();
    for entry in table.iter().map_err(Error::from)? {
        let (name, ()) = entry.map(|(name, _)| (name, ())).map_err(Error::from)?;
        names.insert(InstanceName::from(name.value()));
    }
    Ok(names)
}

/// Leases of a process that had not yet learnt all of them: whoever learns anew writes its own.
pub(super) fn forget_leases(database: &Database) -> Result<(), Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(LEASES)?.retain(|_, _| false)?;
    transaction.commit()?;
    Ok(())
}

fn foreign(error: TableError) -> Fault {
    match error {
        TableError::Storage(error) => Error::from(error).into(),
        _ => Damage::Foreign.into(),
    }
}

/// The greater of the term that is stored and this one, which is stored now. So is the format of what is written with
/// it: a version that does not know it must not read it.
pub(super) fn raise_term(transaction: &WriteTransaction, term: u64) -> Result<u64, Error> {
    let mut meta = transaction.open_table(META)?;
    let format = meta.get(META_FORMAT)?.map(|format| format.value());
    if format < Some(FORMAT) {
        meta.insert(META_FORMAT, FORMAT)?;
    }
    let stored = meta.get(META_TERM)?.map_or(0, |term| term.value());
    if stored < term {
        meta.insert(META_TERM, term)?;
    }
    Ok(stored.max(term))
}

pub(super) fn write_batch(
    transaction: &WriteTransaction,
    batch: &Batch,
    limits: HistoryLimits,
) -> Result<(), Error> {
    if batch.learnt {
        transaction.open_table(META)?.insert(META_LEARNT, 1)?;
    }
    if !batch.leases.is_empty() {
        let mut leases = transaction.open_table(LEASES)?;
        for (instance, lease) in &batch.leases {
            match lease {
                Some((stamp, lease)) => {
                    let bytes = format::encode_lease(*stamp, lease);
                    leases.insert(instance.as_str(), bytes.as_slice())?;
                }
                None => {
                    leases.remove(instance.as_str())?;
                }
            }
        }
    }
    if !batch.addresses.is_empty() {
        let mut addresses = transaction.open_table(ADDRESSES)?;
        for (instance, address) in &batch.addresses {
            addresses.insert(instance.as_str(), address.to_string().as_str())?;
        }
    }
    for (marks, table) in [(&batch.drained, DRAINED), (&batch.quarantined, QUARANTINED)] {
        if marks.is_empty() {
            continue;
        }
        let mut names = transaction.open_table(table)?;
        for (name, marked) in marks {
            if *marked {
                names.insert(name.as_str(), ())?;
            } else {
                names.remove(name.as_str())?;
            }
        }
    }
    write_revocations(transaction, batch)?;
    if !batch.past.is_empty() {
        let mut past = transaction.open_table(PAST)?;
        for (stamp, session) in &batch.past {
            let record = PastRecord::new(*stamp, session);
            past.insert(record.key(), format::encode_past(&record).as_slice())?;
        }
        trim_by_number(&mut past, limits.max_sessions)?;
    }
    if let Some((stamp, _)) = batch.past.back() {
        trim_by_age(transaction, stamp.unix.before(limits.max_age))?;
    }
    Ok(())
}

fn write_revocations(transaction: &WriteTransaction, batch: &Batch) -> Result<(), Error> {
    if batch.revocations.is_empty() {
        return Ok(());
    }
    let mut revocations = transaction.open_table(REVOCATIONS)?;
    for (id, revocation) in &batch.revocations {
        let key = (id.term, id.sequence);
        match revocation {
            Some((stamp, revocation)) => {
                let bytes = format::encode_revocation(*stamp, revocation);
                revocations.insert(key, bytes.as_slice())?;
            }
            None => {
                revocations.remove(key)?;
            }
        }
    }
    Ok(())
}

pub(super) fn find_past(
    transaction: &ReadTransaction,
    query: &HistoryQuery,
) -> Result<Vec<PastRecord>, Damage> {
    let since = (query.since.unwrap_or_default().0, 0, 0);
    let until = query.until.unwrap_or(UnixMillis(u64::MAX)).0;
    let mut found = Vec::new();
    if since.0 > until {
        return Ok(found);
    }
    let past = transaction.open_table(PAST).map_err(Error::from)?;
    let range = past.range(since..=(until, u64::MAX, u64::MAX));
    for entry in range.map_err(Error::from)?.rev() {
        let (_, bytes) = entry.map_err(Error::from)?;
        let record = format::decode_past(bytes.value())?;
        if query.matches(&record) {
            found.push(record);
            if found.len() == query.limit.get() {
                break;
            }
        }
    }
    Ok(found)
}

fn trim_by_number(past: &mut Past<'_>, kept: u64) -> Result<(), Error> {
    for _ in 0..past.len()?.saturating_sub(kept).min(TRIM) {
        past.pop_first()?;
    }
    Ok(())
}

/// Whether there was anything to trim.
pub(super) fn trim_by_age(transaction: &WriteTransaction, kept: UnixMillis) -> Result<bool, Error> {
    let mut past = transaction.open_table(PAST)?;
    for trimmed in 0..TRIM {
        let expired = past.first()?.is_some_and(|(key, _)| key.value().0 < kept.0);
        if !expired {
            return Ok(trimmed > 0);
        }
        past.pop_first()?;
    }
    Ok(true)
}

type Past<'a> = Table<'a, (u64, u64, u64), &'static [u8]>;

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const LEASES: TableDefinition<&str, &[u8]> = TableDefinition::new("leases");
/// Those of instances that have been taken out of the configuration stay: their leases do.
const ADDRESSES: TableDefinition<&str, &str> = TableDefinition::new("addresses");
const DRAINED: TableDefinition<&str, ()> = TableDefinition::new("drained");
const QUARANTINED: TableDefinition<&str, ()> = TableDefinition::new("quarantined");
/// By the two numbers of the id.
const REVOCATIONS: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("revocations");
/// By the time of the end, then by the fence.
const PAST: TableDefinition<(u64, u64, u64), &[u8]> = TableDefinition::new("past");

const META_FORMAT: &str = "format";
const META_TERM: &str = "term";
/// There once every lease is in the store.
const META_LEARNT: &str = "learnt";

/// How many sessions of the history a single commit lets go at most.
const TRIM: u64 = 1000;
