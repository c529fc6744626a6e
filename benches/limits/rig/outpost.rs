//! The design of outposts: a server without a cache of sessions, which queries a store on every request. As lean as possible:
//! one prepared statement by primary key, rendered headers in the row, no sealing, no rules. Real ones are slower.

use std::{net::SocketAddr, str::FromStr as _};

use bytes::Bytes;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header::COOKIE};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::runtime::Builder;
use tokio_postgres::{Config, NoTls};

use super::postgres::Place;
use crate::support::{gate::FIRST_PERSON, servers};

const NAME: &str = "__Host-doorward=";
const TABLE: &str = "CREATE TABLE outpost (id text PRIMARY KEY, headers text NOT NULL)";
const FILL: &str = "INSERT INTO outpost SELECT * FROM unnest($1::text[], $2::text[])";
const FIND: &str = "SELECT headers FROM outpost WHERE id = $1";

/// Writes a row for each person: the headers of the first one with the person's number.
pub(crate) fn fill(place: &Place, cookies: &[String], constant: &HeaderMap) {
    let first = serde_json::to_string(&lines(constant)).expect("text can be written");
    let number = FIRST_PERSON.to_string();
    let everybody = (0..cookies.len()).map(|person| first.replace(&number, &(FIRST_PERSON + person).to_string()));
    let everybody: Vec<String> = everybody.collect();
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = pool(place, 1).get().await.expect("the server answers");
        client.batch_execute(TABLE).await.expect("the database is empty");
        client.execute(FILL, &[&cookies, &everybody]).await.expect("the table takes rows");
    });
}

/// Serves with a number of connections to the store, on the current runtime.
pub(crate) async fn serve(place: &Place, connections: usize) -> SocketAddr {
    let pool = pool(place, connections);
    servers::minimal(move |request| answer(pool.clone(), request)).await.address
}

async fn answer(pool: Pool, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    match find(&pool, &request).await {
        Some(headers) => *response.headers_mut() = headers,
        None => *response.status_mut() = StatusCode::UNAUTHORIZED,
    }
    response
}

async fn find(pool: &Pool, request: &Request<Incoming>) -> Option<HeaderMap> {
    let cookies = request.headers().get(COOKIE)?.to_str().ok()?;
    let id = cookies.split("; ").find_map(|cookie| cookie.strip_prefix(NAME))?;
    let client = pool.get().await.ok()?;
    let statement = client.prepare_cached(FIND).await.ok()?;
    let row = client.query_opt(&statement, &[&id]).await.ok()??;
    let lines: Vec<(&str, &str)> = serde_json::from_str(row.get(0)).ok()?;
    let lines = lines
        .into_iter()
        .map(|(name, value)| Some((HeaderName::from_str(name).ok()?, HeaderValue::from_str(value).ok()?)));
    lines.collect()
}

fn lines(headers: &HeaderMap) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("values are ASCII"))).collect()
}

fn pool(place: &Place, size: usize) -> Pool {
    let config = Config::from_str(&place.url()).expect("a well-formed address");
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    Pool::builder(Manager::from_config(config, NoTls, recycling))
        .max_size(size)
        .build()
        .expect("no timeouts are asked for")
}
