//! Admins with other roles than the first one's, and things for them to reach for.

use serde_json::json;
use support::{ADMIN_PASSWORD, App, Client, Process, stack};

/// Makes an admin with these roles (`None`: global) and logs in. There is no route for it yet.
pub(crate) async fn admin(app: &App, name: &str, roles: &[(&str, Option<&str>)]) -> Client {
    let sql = "INSERT INTO admins (id, name, password_hash) SELECT gen_random_uuid(), $1, password_hash FROM admins WHERE name = 'root'";
    sqlx::query(sql).bind(name).execute(&app.pool).await.unwrap();
    for (role, service) in roles {
        let sql =
            "INSERT INTO admin_roles (admin_id, role, service_id) SELECT id, $2, $3::uuid FROM admins WHERE name = $1";
        sqlx::query(sql).bind(name).bind(*role).bind(*service).execute(&app.pool).await.unwrap();
    }
    app.client.login(name, ADMIN_PASSWORD).await
}

/// A service with a target that nobody ever connects to.
#[derive(Debug)]
pub(super) struct Paper {
    pub(super) service: String,
    pub(super) server: String,
    pub(super) credential: String,
    pub(super) target: String,
}

impl Paper {
    pub(super) async fn create(client: &Client) -> Self {
        let tag = stack::fresh("p").replace('_', "-");
        let service = client.post("/v1/services", json!({ "name": tag })).await.id();
        let server = json!({ "name": tag, "engine": "postgres", "host": "127.0.0.1", "port": 1 });
        let server = client.post("/v1/servers", server).await.id();
        let credential = json!({ "name": tag, "user_name": "backup", "password": "a password of nobody" });
        let credential = client.post("/v1/credentials", credential).await.id();
        let target = json!({
            "service_id": service, "server_id": server, "name": tag, "database": "d",
            "backup_credential_id": credential, "stores": ["disk", "grid"],
        });
        let target = client.post("/v1/targets", target).await.id();
        Self { service, server, credential, target }
    }
}

/// Another API of the same installation, with these settings; and the first admin's client there.
pub(super) async fn another_api(app: &App, name: &str, settings: &[(&str, &str)]) -> (Process, Client) {
    let config = app.dir.path().join("api.toml");
    let args = ["--config", config.to_str().unwrap(), "serve"];
    let mut api = Process::start("holdfast-api", &args, app.dir.path(), name, settings);
    let listening = api.says("listening").await;
    let address = listening["address"].as_str().unwrap();
    let client = Client::new(format!("http://{address}")).with_token(app.client.token.as_ref().unwrap());
    (api, client)
}
