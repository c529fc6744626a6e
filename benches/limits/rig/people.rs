//! Sessions that are written to a store before the gate starts, because a real gate creates sessions only by a sign-in at the
//! provider.

use std::sync::Arc;

use doorward::identity::Tokens;
use tokio::runtime::Builder;

use crate::support::gate::Bench;

/// Signs a number of people in with these tokens, and returns their cookies.
pub(crate) fn signed_in(store: &str, people: usize, tokens: &Tokens) -> Arc<Vec<String>> {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut bench = Bench::on(store, 1).await;
        bench.sign_in_with(people, tokens).await;
        bench.cookies
    })
}
