//! `berth api-key`.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::PathBuf,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use berth_admission::{ApiKeyConfig, Family, Policy, PolicyConfig, PolicyError, PoolConfig};
use clap::Args;
use rsa::rand_core::{OsRng, RngCore};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::files::private_file;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiKeyError {
    #[error("the entry would not do: {0}")]
    Entry(#[from] PolicyError),
    #[error("the system has no random numbers: {0}")]
    Random(#[from] rsa::rand_core::Error),
    #[error("cannot write {}: {error}; what is there already is not replaced", path.display())]
    Unwritable { path: PathBuf, error: io::Error },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth api-key --subject kiosk-7
      a key for kiosk-7, and what goes into the configuration as `admission.api_keys`
  berth api-key --subject kiosk-7 --tenant acme --pool web --priority 5 --key-out kiosk-7.key
      with a tenant, for one pool; the key goes into a file of which nobody else may read

A key is 256 random bits. The configuration has only its SHA-256, from which nobody finds the key; so it is shown now and
never again. Clients send it where they would send a token: `Authorization: Bearer berth_...`. To take it back, remove its
entry.")]
pub(super) struct ApiKeyCommand {
    /// The user that it stands for, whose issuer is `api_key`
    #[arg(long)]
    subject: String,
    /// The user's tenant
    #[arg(long, default_value = "", hide_default_value = true)]
    tenant: String,
    /// A pool that it permits; may be given several times [default: all]
    #[arg(long, value_name = "POOL")]
    pool: Vec<String>,
    /// How urgent the user's sessions are, from 0 to 9; the greater goes first
    #[arg(long, default_value_t = 0)]
    priority: u8,
    /// Where the key goes, instead of being printed; a new file, which only you can read
    #[arg(long, value_name = "FILE")]
    key_out: Option<PathBuf>,
}

impl ApiKeyCommand {
    pub(super) fn execute(self) -> Result<String, ApiKeyError> {
        let mut random = [0; 32];
        OsRng.try_fill_bytes(&mut random)?;
        let key = key(&random);
        let entry = ApiKeyConfig {
            subject: self.subject,
            sha256: hexadecimal(&Sha256::digest(&key)),
            tenant: self.tenant,
            pools: self.pool,
            priority: self.priority,
        };
        check(&entry)?;
        let mut answer = String::new();
        match self.key_out {
            None => {
                // Writing to a string cannot fail.
                let _ = writeln!(
                    answer,
                    "{key}\n\nIt is not shown again. In the configuration:\n"
                );
            }
            Some(path) => {
                let written = private_file(&path)
                    .and_then(|mut file| file.write_all(format!("{key}\n").as_bytes()));
                written.map_err(|error| ApiKeyError::Unwritable { path, error })?;
            }
        }
        answer.push_str(&yaml(&entry));
        Ok(answer)
    }
}

/// Without a dot, so that nobody takes it for a token; and easy to search for where it should not be.
fn key(random: &[u8; 32]) -> String {
    format!("berth_{}", URL_SAFE_NO_PAD.encode(random))
}

/// By the same rules as in a configuration that has these pools.
fn check(entry: &ApiKeyConfig) -> Result<(), PolicyError> {
    let pools = entry
        .pools
        .iter()
        .map(|name| PoolConfig::open(name.clone(), Family::Web));
    let mut pools: Vec<_> = pools.collect();
    if pools.is_empty() {
        pools.push(PoolConfig::open("any".to_owned(), Family::Web));
    }
    let policy = PolicyConfig {
        api_keys: vec![entry.clone()],
        pools,
        ..PolicyConfig::default()
    };
    Policy::compile(policy).map(|_| ())
}

/// As it is written in the configuration. Text in JSON's quotes is text in YAML, whatever it looks like.
fn yaml(entry: &ApiKeyConfig) -> String {
    let mut text = format!(
        "  api_keys:\n  - subject: {}\n    sha256: {}\n",
        json!(entry.subject),
        json!(entry.sha256)
    );
    if !entry.tenant.is_empty() {
        let _ = writeln!(text, "    tenant: {}", json!(entry.tenant));
    }
    if !entry.pools.is_empty() {
        let _ = writeln!(text, "    pools: {}", json!(entry.pools));
    }
    if entry.priority > 0 {
        let _ = writeln!(text, "    priority: {}", entry.priority);
    }
    text
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
