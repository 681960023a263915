//! What admission costs, beside Envoy's own `jwt_authn`, and what a session costs once it is let in.

mod footprint;
mod load;
mod local;
mod relay;
mod site;
mod through;
mod tokens;

use crate::BenchError;
use crate::figure::Figure;

/// Measures what is in memory first: it is the quickest to fail where something is not built.
pub(crate) async fn run() -> Result<Vec<Figure>, BenchError> {
    let mut figures = footprint::run().await?;
    figures.extend(local::run().await?);
    figures.extend(through::run().await?);
    figures.extend(relay::run().await?);
    Ok(figures)
}
