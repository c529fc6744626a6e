//! Rotating a secret in PostgreSQL.

use async_trait::async_trait;
use tokio_postgres::types::Type;

use crate::{
    clock::Timestamp,
    crypto::KeyId,
    session::{
        cookie::SessionId,
        store::{
            Row, Unavailable,
            postgres::{Again, COLUMNS, Columns, Parameter, Postgres, field, leases::number, moment, read, seconds},
            rotation::{Bequest, MOST_COUNTED, MOST_SECRETS, Reseal, Rotation},
        },
    },
};

#[async_trait]
impl Rotation for Postgres {
    async fn count_others(&self, newest: KeyId) -> Result<Vec<(KeyId, u64)>, Unavailable> {
        // From each secret to the next one in the index, whatever the number of rows between them. The order by key keeps
        // the planner from reading the table where most of its rows are of one secret.
        let statement = "WITH RECURSIVE secrets (secret) AS (\
                             SELECT (SELECT substring(sealed FROM 1 FOR 4) FROM doorward_sessions \
                                     ORDER BY substring(sealed FROM 1 FOR 4), key LIMIT 1) \
                             UNION ALL \
                             SELECT (SELECT substring(sealed FROM 1 FOR 4) FROM doorward_sessions \
                                     WHERE substring(sealed FROM 1 FOR 4) > secret \
                                     ORDER BY substring(sealed FROM 1 FOR 4), key LIMIT 1) \
                             FROM secrets WHERE secret IS NOT NULL\
                         ) \
                         SELECT secret, (SELECT count(*) FROM (\
                             SELECT 1 FROM doorward_sessions WHERE substring(sealed FROM 1 FOR 4) = secret \
                             ORDER BY key LIMIT $2) AS found) \
                         FROM secrets WHERE secret <> $1 AND length(secret) = 4 LIMIT $3";
        let (newest, rows, secrets) = (newest.as_slice(), i64::from(MOST_COUNTED), i64::from(MOST_SECRETS));
        let parameters: &[Parameter<'_>] = &[(&newest, Type::BYTEA), (&rows, Type::INT8), (&secrets, Type::INT8)];
        let rows = self.query(statement, parameters, Again::Yes).await?;
        rows.iter().map(|row| Ok((secret(row)?, field::<i64>(row, 1)?.unsigned_abs()))).collect()
    }

    async fn sealed_by(&self, secret: KeyId, from: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable> {
        let statement =
            format!("{COLUMNS} WHERE substring(sealed FROM 1 FOR 4) = $1 AND key >= $2 ORDER BY key LIMIT $3");
        let limit = i64::from(limit);
        let parameters: &[Parameter<'_>] =
            &[(&secret.as_slice(), Type::BYTEA), (&from.0.as_slice(), Type::BYTEA), (&limit, Type::INT8)];
        self.query(&statement, parameters, Again::Yes).await?.iter().map(read).collect()
    }

    async fn reseal(&self, reseals: &[Reseal]) -> Result<u64, Unavailable> {
        let keys: Vec<_> = reseals.iter().map(|reseal| reseal.key.0.as_slice()).collect();
        let generations: Vec<_> = reseals.iter().map(|reseal| number(reseal.generation)).collect();
        let secrets: Vec<_> = reseals.iter().map(|reseal| reseal.from.as_slice()).collect();
        let sealed: Vec<_> = reseals.iter().map(|reseal| reseal.sealed.as_slice()).collect();
        // A row that somebody else holds is being renewed, ended or sealed anew just now: its turn comes again.
        let statement = "WITH anew AS (\
                             SELECT key, n.sealed FROM unnest($1, $2, $3, $4) AS n (key, generation, secret, sealed) \
                             JOIN doorward_sessions AS s USING (key) \
                             WHERE s.generation = n.generation AND substring(s.sealed FROM 1 FOR 4) = n.secret \
                             FOR UPDATE OF s SKIP LOCKED\
                         ) UPDATE doorward_sessions AS s SET sealed = anew.sealed FROM anew WHERE s.key = anew.key \
                         RETURNING 1";
        let parameters: &[Parameter<'_>] = &[
            (&keys, Type::BYTEA_ARRAY),
            (&generations, Type::INT8_ARRAY),
            (&secrets, Type::BYTEA_ARRAY),
            (&sealed, Type::BYTEA_ARRAY),
        ];
        self.query(statement, parameters, Again::Yes).await.map(|rows| rows.len() as u64)
    }

    async fn bequests(&self) -> Result<Vec<Bequest>, Unavailable> {
        let rows = self.query("SELECT secret, retired, sealed FROM doorward_bequests", &[], Again::Yes).await?;
        let bequest = |row: &Columns| {
            Ok(Bequest { secret: secret(row)?, retired: moment(field(row, 1)?), sealed: field(row, 2)? })
        };
        rows.iter().map(bequest).collect()
    }

    async fn bequeath(&self, bequest: &Bequest) -> Result<(), Unavailable> {
        let statement = "INSERT INTO doorward_bequests (secret, retired, sealed) VALUES ($1, $2, $3) \
                         ON CONFLICT (secret) DO UPDATE SET retired = excluded.retired, sealed = excluded.sealed";
        let parameters: &[Parameter<'_>] = &[
            (&bequest.secret.as_slice(), Type::BYTEA),
            (&seconds(bequest.retired), Type::INT8),
            (&bequest.sealed, Type::BYTEA),
        ];
        self.query(statement, parameters, Again::Yes).await.map(drop)
    }

    async fn forget_bequests(&self, before: Timestamp) -> Result<(), Unavailable> {
        let statement = "DELETE FROM doorward_bequests WHERE retired < $1 \
                         AND retired < coalesce((SELECT min(created) FROM doorward_sessions), retired + 1)";
        self.query(statement, &[(&seconds(before), Type::INT8)], Again::Yes).await.map(drop)
    }
}

fn secret(row: &Columns) -> Result<KeyId, Unavailable> {
    let bytes: &[u8] = field(row, 0)?;
    bytes.try_into().map_err(|_| Unavailable::Failed("the name of a secret is not as long as one".to_owned()))
}
