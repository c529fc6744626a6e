//! People who are signed in at a store before the gate that serves them is started: a real one has no other way in than its
//! provider.

use std::sync::Arc;

use doorward::identity::Tokens;
use tokio::runtime::Builder;

use crate::support::gate::Bench;

/// Signs so many people in with these tokens, and gives their cookies.
pub(crate) fn signed_in(store: &str, people: usize, tokens: &Tokens) -> Arc<Vec<String>> {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut bench = Bench::on(store, 1).await;
        bench.sign_in_with(people, tokens).await;
        bench.cookies
    })
}
