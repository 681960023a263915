//! What placement costs, and what it keeps.

mod burst;
mod durable;
mod fixed;
mod machine;
mod upgrade;

use crate::BenchError;
use crate::figure::Figure;

pub(crate) async fn run() -> Result<Vec<Figure>, BenchError> {
    let mut figures = machine::run()?;
    figures.extend(durable::run().await?);
    figures.extend(burst::run().await?);
    figures.extend(upgrade::run().await?);
    Ok(figures)
}
