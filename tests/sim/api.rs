//! The endpoints. Pure: a request and a time in, an answer out, the world changed.

use serde_json::{Value, json};

use super::body::{Body, is_filesystem_name};
use super::errors::{self, Failure, invalid};
use super::limits::Limits;
use super::scenario::{Account, FaultKind, Scenario, matches};
use super::state::{Filesystem, SshKey, State};
use super::{auth, catalog, firewall, launch, wire};

/// All that an answer depends on.
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) scenario: Scenario,
    pub(crate) limits: Limits,
    pub(crate) key: String,
    /// Whether instances get boxes.
    pub(crate) boxes: bool,
}

/// What came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Vec<u8>,
    /// A key pair, public and private, where the call needs a fresh one.
    pub(crate) fresh: Option<(String, String)>,
}

/// What goes back, and how.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) json: bool,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Seconds to wait first.
    pub(crate) delay: f64,
    /// The connection is dropped instead.
    pub(crate) drop: bool,
    /// Not what the document says, on purpose.
    pub(crate) odd: bool,
}

impl Reply {
    fn json(status: u16, body: &Value) -> Self {
        let body = body.to_string().into_bytes();
        Self { status, body, json: true, headers: Vec::new(), delay: 0.0, drop: false, odd: false }
    }

    pub(crate) fn data(data: &Value) -> Self {
        Self::json(200, &json!({ "data": data }))
    }

    pub(crate) fn dropped(mut self) -> Self {
        self.drop = true;
        self
    }

    pub(crate) fn slow(mut self, seconds: f64) -> Self {
        self.delay = seconds;
        self
    }

    pub(crate) fn garbage(mut self, status: u16) -> Self {
        self.status = status;
        self.body = b"<html>\x00\xff\xfe{\"data\": [1, 2,".to_vec();
        (self.json, self.odd) = (false, true);
        self
    }

    fn made_odd(mut self) -> Self {
        if let Ok(mut body) = serde_json::from_slice::<Value>(&self.body) {
            wire::make_odd(&mut body);
            self.body = body.to_string().into_bytes();
            self.odd = true;
        }
        self
    }
}

/// Every endpoint of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Endpoint {
    ListInstances,
    GetInstance,
    UpdateInstance,
    ListTypes,
    Launch,
    Restart,
    Terminate,
    ListKeys,
    AddKey,
    DeleteKey,
    ListFilesystems,
    CreateFilesystem,
    DeleteFilesystem,
    ListImages,
    ListRules,
    SetRules,
    ListRulesets,
    CreateRuleset,
    GetGlobal,
    UpdateGlobal,
    GetRuleset,
    UpdateRuleset,
    DeleteRuleset,
    Events,
}

use Endpoint as E;

/// Method, path, endpoint. Where two paths fit, the first is meant.
pub(crate) const ENDPOINTS: [(&str, &str, Endpoint); 24] = [
    ("GET", "/api/v1/instances", E::ListInstances),
    ("GET", "/api/v1/instances/{id}", E::GetInstance),
    ("POST", "/api/v1/instances/{id}", E::UpdateInstance),
    ("GET", "/api/v1/instance-types", E::ListTypes),
    ("POST", "/api/v1/instance-operations/launch", E::Launch),
    ("POST", "/api/v1/instance-operations/restart", E::Restart),
    ("POST", "/api/v1/instance-operations/terminate", E::Terminate),
    ("GET", "/api/v1/ssh-keys", E::ListKeys),
    ("POST", "/api/v1/ssh-keys", E::AddKey),
    ("DELETE", "/api/v1/ssh-keys/{id}", E::DeleteKey),
    ("GET", "/api/v1/file-systems", E::ListFilesystems),
    ("POST", "/api/v1/filesystems", E::CreateFilesystem),
    ("DELETE", "/api/v1/filesystems/{id}", E::DeleteFilesystem),
    ("GET", "/api/v1/images", E::ListImages),
    ("GET", "/api/v1/firewall-rules", E::ListRules),
    ("PUT", "/api/v1/firewall-rules", E::SetRules),
    ("GET", "/api/v1/firewall-rulesets", E::ListRulesets),
    ("POST", "/api/v1/firewall-rulesets", E::CreateRuleset),
    ("GET", "/api/v1/firewall-rulesets/global", E::GetGlobal),
    ("PATCH", "/api/v1/firewall-rulesets/global", E::UpdateGlobal),
    ("GET", "/api/v1/firewall-rulesets/{id}", E::GetRuleset),
    ("PATCH", "/api/v1/firewall-rulesets/{id}", E::UpdateRuleset),
    ("DELETE", "/api/v1/firewall-rulesets/{id}", E::DeleteRuleset),
    ("GET", "/api/v1/audit-events", E::Events),
];

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    To(Endpoint, &'static str, &'a str),
    /// The methods that there are.
    NoMethod(Vec<&'static str>),
    NoPath,
}

/// Finds the endpoint, the document's path and the id in the path.
pub(crate) fn route<'a>(method: &str, path: &'a str) -> Route<'a> {
    let id_of = |template: &str| match template.strip_suffix("{id}") {
        Some(head) => path.strip_prefix(head).filter(|id| !id.contains('/') && !id.is_empty()),
        None => (template == path).then_some(""),
    };
    let Some(template) = ENDPOINTS.iter().map(|(_, t, _)| *t).find(|t| id_of(t).is_some()) else {
        return Route::NoPath;
    };
    let methods = ENDPOINTS.iter().filter(|(_, t, _)| *t == template);
    match methods.clone().find(|(m, _, _)| *m == method) {
        Some((_, template, endpoint)) => Route::To(*endpoint, template, id_of(template).unwrap_or_default()),
        None => Route::NoMethod(methods.map(|(m, _, _)| *m).collect()),
    }
}

/// A time as the API writes it.
pub(crate) fn time(now: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "a time of our days")]
    jiff::Timestamp::from_microsecond((now * 1e6) as i64).unwrap_or_default().to_string()
}

impl World {
    /// What time alone has done by `now`: whether that is anything.
    pub(crate) fn advance(&mut self, now: f64) -> bool {
        let mut changed = false;
        for instance in &mut self.state.instances {
            let powered =
                instance.machine.as_ref().is_some_and(|m| m.state != super::state::MachineState::Gone);
            if let Some(pulled) = instance.pulled()
                && instance.gone.is_none()
                && now >= pulled
                && !powered
            {
                instance.gone = Some(now);
                changed = true;
            }
        }
        let shut = self.state.shut.len();
        self.state.shut.retain(|s| now < s.until);
        changed || self.state.shut.len() < shut
    }

    /// Answers, whatever comes.
    pub(crate) fn answer(&mut self, request: &Request, now: f64) -> Reply {
        self.advance(now);
        let mut fault = None;
        let reply = self.consider(request, now, &mut fault).unwrap_or_else(|failure| {
            let mut reply = Reply::json(failure.status, &failure.body());
            if failure.status == 429
                && let Some(seconds) = self.scenario.rates.retry_after
            {
                reply.headers.push(("retry-after", seconds.to_string()));
            }
            if let (405, Route::NoMethod(methods)) = (failure.status, route(&request.method, &request.path)) {
                reply.headers.push(("allow", methods.join(", ")));
            }
            reply
        });
        let reply = match fault {
            Some((FaultKind::Drop | FaultKind::Lost, _)) => reply.dropped(),
            Some((FaultKind::Garbage, _)) => reply.garbage(200),
            Some((FaultKind::Slow, after)) => reply.slow(after),
            Some((FaultKind::UnknownEnums, _)) => reply.made_odd(),
            _ => reply,
        };
        if self.scenario.odd && reply.json && !reply.odd { reply.made_odd() } else { reply }
    }

    fn consider(
        &mut self,
        request: &Request,
        now: f64,
        fault: &mut Option<(FaultKind, f64)>,
    ) -> Result<Reply, Failure> {
        let (endpoint, id) = match route(&request.method, &request.path) {
            Route::To(endpoint, _, id) => (endpoint, id),
            Route::NoMethod(_) => return Err(errors::no_such_method()),
            Route::NoPath => return Err(errors::no_such_path()),
        };
        if !auth::allowed(request.authorization.as_deref(), &self.key) {
            return Err(errors::invalid_api_key());
        }
        if self.scenario.account == Account::Inactive {
            return Err(errors::account_inactive());
        }
        if !self.limits.admit(now, endpoint == E::Launch, &self.scenario.rates) {
            return Err(errors::too_many_requests());
        }
        *fault = self.fault(request);
        match fault {
            Some((FaultKind::Internal, _)) => return Err(errors::internal(500)),
            Some((FaultKind::Conflict, _)) => return Err(errors::internal(409)),
            Some((FaultKind::RateLimited, _)) => return Err(errors::too_many_requests()),
            Some((FaultKind::ProviderError, _)) => return Err(errors::provider_unavailable(503)),
            Some((FaultKind::Drop, _)) => return Ok(Reply::data(&Value::Null)),
            _ => {}
        }
        self.call(endpoint, id, request, now)
    }

    /// The fault that the scenario has for this call.
    fn fault(&mut self, request: &Request) -> Option<(FaultKind, f64)> {
        for fault in &mut self.scenario.faults {
            if fault.times > 0
                && matches(&fault.method, &request.method)
                && matches(&fault.path, &request.path)
            {
                if fault.skip > 0 {
                    fault.skip -= 1;
                } else {
                    fault.times -= 1;
                    return Some((fault.kind, fault.after.unwrap_or(5.0)));
                }
            }
        }
        None
    }

    fn call(&mut self, endpoint: Endpoint, id: &str, request: &Request, now: f64) -> Result<Reply, Failure> {
        let body = || Body::parse(&request.body);
        Ok(match endpoint {
            E::ListInstances => {
                // A cluster's only, and there are no clusters.
                let cluster = request.query.iter().any(|(name, _)| name == "cluster_id");
                self.instances(now, |_| !cluster)
            }
            E::GetInstance => {
                self.find_instance(id, now)?;
                self.instance(id, now)
            }
            E::UpdateInstance => {
                let at = self.find_instance(id, now)?;
                if let Some(name) = body()?.text_of("name", 0..=64)? {
                    self.state.instances[at].name = Some(name);
                    self.audit("instance", "update", id, now);
                }
                self.instance(id, now)
            }
            E::ListTypes => self.types(now),
            E::Launch => {
                self.pays()?;
                launch::launch(self, &body()?, now)?
            }
            E::Restart | E::Terminate => self.operate(endpoint, &body()?, now)?,
            E::ListKeys => Reply::data(&self.state.ssh_keys.iter().map(wire::ssh_key).collect()),
            E::AddKey => self.add_key(&body()?, request.fresh.as_ref(), now)?,
            E::DeleteKey => {
                let at = self.state.ssh_keys.iter().position(|key| key.id == id);
                // The document has no 404 for it.
                self.state.ssh_keys.remove(at.ok_or_else(|| invalid("there is no such SSH key"))?);
                self.audit("ssh_key", "delete", id, now);
                Reply::data(&json!({}))
            }
            E::ListFilesystems => {
                let all = self.state.filesystems.iter().map(|f| wire::filesystem(f, &self.state));
                Reply::data(&all.collect())
            }
            E::CreateFilesystem => {
                self.pays()?;
                self.create_filesystem(&body()?, now)?
            }
            E::DeleteFilesystem => {
                let at = self.state.filesystems.iter().position(|f| f.id == id);
                let at = at.ok_or_else(errors::no_such_filesystem)?;
                if self.state.in_use(id) {
                    return Err(errors::filesystem_in_use());
                }
                self.state.filesystems.remove(at);
                self.audit("filesystem", "delete", id, now);
                Reply::data(&json!({"deleted_ids": [id]}))
            }
            E::ListImages => Reply::data(&catalog::images().iter().map(wire::image).collect()),
            E::ListRules => Reply::data(&json!(self.state.rules)),
            E::SetRules => {
                let body = body()?;
                body.needed("data", body.get("data"))?;
                firewall::set_rules(self, &body, "data", now)?;
                Reply::data(&json!(self.state.rules))
            }
            E::ListRulesets => firewall::list(self),
            E::CreateRuleset => firewall::create(self, &body()?, now)?,
            E::GetGlobal => Reply::data(&wire::global_ruleset(&self.state)),
            E::UpdateGlobal => {
                firewall::set_rules(self, &body()?, "rules", now)?;
                Reply::data(&wire::global_ruleset(&self.state))
            }
            E::GetRuleset => firewall::get(self, id)?,
            E::UpdateRuleset => firewall::update(self, id, &body()?, now)?,
            E::DeleteRuleset => firewall::delete(self, id, now)?,
            E::Events => firewall::events(self, &request.query)?,
        })
    }

    fn pays(&self) -> Result<(), Failure> {
        if self.scenario.account == Account::InvalidAddress { Err(errors::invalid_address()) } else { Ok(()) }
    }

    fn instances(&self, now: f64, wanted: impl Fn(&str) -> bool) -> Reply {
        let types = catalog::types(&self.scenario);
        let listed = self.scenario.terminate.listed;
        let shown = self.state.instances.iter().filter(|i| i.is_shown(now, listed) && wanted(&i.id));
        Reply::data(&shown.map(|i| wire::instance(i, &types, now)).collect())
    }

    /// Where it is among the instances, if it is shown.
    fn find_instance(&self, id: &str, now: f64) -> Result<usize, Failure> {
        let listed = self.scenario.terminate.listed;
        let found = self.state.instances.iter().position(|i| i.id == id && i.is_shown(now, listed));
        found.ok_or_else(errors::no_such_instance)
    }

    fn instance(&self, id: &str, now: f64) -> Reply {
        let types = catalog::types(&self.scenario);
        let found = self.state.instances.iter().find(|i| i.id == id);
        Reply::data(&found.map(|i| wire::instance(i, &types, now)).unwrap_or_default())
    }

    fn types(&self, now: f64) -> Reply {
        let item = |spec: &super::scenario::TypeSpec| {
            let free = launch::free_regions(&self.state, &self.scenario, spec, now);
            let regions: Value = free.into_iter().map(wire::region).collect();
            let item = json!({
                "instance_type": wire::instance_type(spec),
                "regions_with_capacity_available": regions,
            });
            (spec.name.clone(), item)
        };
        Reply::data(&Value::Object(catalog::types(&self.scenario).iter().map(item).collect()))
    }

    /// Restart and terminate: all that are named, or none when one is not there.
    fn operate(&mut self, endpoint: Endpoint, body: &Body, now: f64) -> Result<Reply, Failure> {
        let mut ids = body.needed("instance_ids", body.texts("instance_ids")?)?;
        ids.sort();
        ids.dedup();
        let found: Vec<usize> = ids.iter().map(|id| self.find_instance(id, now)).collect::<Result<_, _>>()?;
        let (field, action) = match endpoint {
            E::Restart => ("restarted_instances", "restart"),
            _ => ("terminated_instances", "terminate"),
        };
        let seconds = self.scenario.terminate.seconds;
        for &at in &found {
            let instance = &mut self.state.instances[at];
            match endpoint {
                E::Restart => instance.machine.iter_mut().for_each(|machine| machine.restart = true),
                _ if instance.ending.is_none() => instance.ending = Some(now + seconds),
                // It keeps the time of the first call.
                _ => {}
            }
        }
        for id in &ids {
            self.audit("instance", action, id, now);
        }
        self.advance(now);
        let types = catalog::types(&self.scenario);
        let said: Value =
            found.iter().map(|&at| wire::instance(&self.state.instances[at], &types, now)).collect();
        Ok(Reply::data(&json!({ field: said })))
    }

    fn add_key(&mut self, body: &Body, fresh: Option<&(String, String)>, now: f64) -> Result<Reply, Failure> {
        let name = body.needed("name", body.text_of("name", 1..=64)?)?;
        let given = body.text_of("public_key", 1..=4096)?;
        if given.as_ref().is_some_and(|key| !is_public_key(key)) {
            return Err(invalid("public_key: no key in OpenSSH's format"));
        }
        if self.state.ssh_keys.iter().any(|key| key.name == name) {
            return Err(invalid("name: there is an SSH key of this name"));
        }
        let (public_key, private_key) = match (given, fresh) {
            (Some(public), _) => (public, None),
            (None, Some((public, private))) => (public.clone(), Some(private)),
            (None, None) => return Err(errors::internal(500)),
        };
        let key = SshKey { id: self.state.fresh_id(), name, public_key };
        let mut said = wire::ssh_key(&key);
        if let Some(private) = private_key {
            said["private_key"] = json!(private);
        }
        self.audit("ssh_key", "create", &key.id, now);
        self.state.ssh_keys.push(key);
        Ok(Reply::data(&said))
    }

    fn create_filesystem(&mut self, body: &Body, now: f64) -> Result<Reply, Failure> {
        let name = body.needed("name", body.text_of("name", 1..=60)?)?;
        if !is_filesystem_name(&name) {
            return Err(invalid("name: letters, then letters, digits and -"));
        }
        let region = body.region("region")?;
        if self.state.filesystems.iter().any(|f| f.name == name) {
            return Err(errors::duplicate("A filesystem of this name"));
        }
        if self.state.filesystems.len() >= self.scenario.quota.filesystems {
            return Err(errors::quota());
        }
        let id = self.state.fresh_id();
        self.audit("filesystem", "create", &id, now);
        self.state.filesystems.push(Filesystem { id, name, region, created: time(now) });
        let made = self.state.filesystems.last().map(|f| wire::filesystem(f, &self.state));
        Ok(Reply::data(&made.unwrap_or_default()))
    }

    /// Adds to the audit log.
    pub(crate) fn audit(&mut self, resource: &str, action: &str, id: &str, now: f64) {
        let event_id = self.state.fresh_id();
        self.state.events.push(json!({
            "service_name": "cloud",
            "resource_name": resource,
            "action": action,
            "catalog_version": "1.0.0",
            "event_id": event_id,
            "event_time": time(now),
            "actor_lrn": format!("lrn:iam::user/{}", wire::USER),
            "resource_lrns": [format!("lrn:cloud::{resource}/{id}")],
            "resource_owner_lrn": null,
            "request_api_key_lrn": null,
            "additional_details": {},
        }));
    }
}

/// One line: a kind of key and its bytes in base64, and perhaps a comment.
fn is_public_key(text: &str) -> bool {
    use base64::Engine;
    let mut words = text.trim().split(' ');
    let kind = words.next().is_some_and(|w| ["ssh-", "ecdsa-", "sk-"].iter().any(|p| w.starts_with(p)));
    let bytes = |w: &str| base64::engine::general_purpose::STANDARD.decode(w).is_ok_and(|b| b.len() > 16);
    kind && words.next().is_some_and(bytes) && !text.trim().contains('\n')
}
