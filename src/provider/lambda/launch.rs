//! Launching so that nothing bills unseen. The API has no token that would make a launch idempotent:
//! when its answer is lost, the instance is looked for by our tag before anybody launches again.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::answer::{Failure, NO_CAPACITY};
use super::client::{Ask, Trouble};
use super::retry::Safety;
use super::{LambdaProvider, wire};
use crate::error::{Error, Kind, Result};
use crate::events::Events;
use crate::failpoint;
use crate::names::{InstanceId, shown};
use crate::provider::{Attempt, Instance, InstanceStatus, LaunchRequest, Launched, Provider};

/// How often the account is looked through for an instance whose launch was not answered.
const LOOKS: u32 = 6;

/// Launches once, as [`Provider::launch`] says.
pub(super) async fn launch(
    lambda: &LambdaProvider,
    request: &LaunchRequest,
    events: &Events,
) -> Result<Attempt> {
    let place = &request.placement;
    let doing = format!("can't launch {} in {}", place.instance_type, place.region);
    // It was looked up before, so this asks Lambda only where the key has gone since.
    let known = match lambda.name_of_key(&request.login.public).await {
        Ok(None) => lambda.upload_key(&request.login.public).await.map(Some),
        known => known,
    };
    let key = match known {
        Ok(Some(key)) => key,
        Ok(None) => return Ok(Attempt::Refused(Error::new(Kind::Provider, doing))),
        Err(e) => return Ok(Attempt::Refused(e)),
    };
    let body = wire::plan_launch(request, &key, &lambda.config.from);
    failpoint::hit("asking");
    let ask = Ask { launch: true, ..Ask::post("instance-operations/launch", &body, Safety::Once) };
    let why = match lambda.client.ask(&ask).await {
        Ok(envelope) => match parse_launched(&envelope) {
            Some(id) => return Ok(launched(request, id)),
            None => "the answer names no instance".to_owned(),
        },
        Err(Trouble::Api(Failure::Refused(refusal))) if refusal.code == NO_CAPACITY => {
            return Ok(Attempt::NoCapacity(refusal.message));
        }
        Err(Trouble::Api(failure)) if !failure.is_harmless() => failure.words(),
        Err(Trouble::Api(failure)) if failure.is_transient() => {
            return Ok(Attempt::Unavailable(failure.words()));
        }
        Err(trouble) => return Ok(Attempt::Refused(trouble.into_error(&doing))),
    };
    failpoint::hit("unanswered");
    look_for(lambda, request, why, events).await
}

/// The one id of a launch's answer.
fn parse_launched(envelope: &Value) -> Option<InstanceId> {
    let id = envelope.get("data")?.get("instance_ids")?.as_array()?.first()?.as_str()?;
    (!id.is_empty()).then(|| InstanceId(id.to_owned()))
}

fn launched(request: &LaunchRequest, id: InstanceId) -> Attempt {
    let place = &request.placement;
    Attempt::Launched(Box::new(Launched::new(Instance {
        id,
        name: request.name.to_string(),
        ours: true,
        launch: Some(request.launch),
        status: InstanceStatus::Booting,
        address: None,
        system: Some(place.system),
        instance_type: Some(place.instance_type.clone()),
        region: Some(place.region.clone()),
        volumes: vec![request.volume.name.to_string()],
        since: Some(request.asked),
        launched_from: None,
        cents_per_hour: Some(place.cents_per_hour),
        extra: serde_json::Map::new(),
    })))
}

/// Whether the launch went through all the same: the account is looked through for our tag until it
/// would show by now.
async fn look_for(
    lambda: &LambdaProvider,
    request: &LaunchRequest,
    why: String,
    events: &Events,
) -> Result<Attempt> {
    let patience = lambda.settle_time();
    events.warn(format!(
        "the launch was not answered ({why}): looking for its instance for {} s",
        patience.as_secs()
    ));
    let until = Instant::now() + patience;
    loop {
        let instances = lambda.list().await.map_err(|e| {
            Error::new(Kind::Provider, "a launch was asked for and not answered, and now Lambda can't be asked")
                .detail(why.clone())
                .caused_by(e)
                .hint("an instance may be running: `devbox up` and `devbox down` find it by its tag as soon as Lambda answers")
        })?;
        let odd = instances.iter().find(|i| i.may_be_anybodys()).map(|i| shown(&i.id.0));
        if let Some(instance) = instances.into_iter().find(|i| i.launch == Some(request.launch)) {
            events.info(format!("found it: {}", instance.id));
            return Ok(Attempt::Launched(Box::new(Launched::new(instance))));
        }
        if let Some(odd) = odd {
            return Err(Error::new(
                Kind::Provider,
                "a launch was asked for and not answered, and Lambda lists an instance that can't be read",
            )
            .detail(why)
            .hint(format!("it may be that of the launch: look at `{odd}` in Lambda's console")));
        }
        if Instant::now() >= until {
            return Ok(Attempt::Lost(why));
        }
        tokio::time::sleep((patience / LOOKS).max(Duration::from_millis(10))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_an_answer_with_an_id_is_a_launch() {
        let id = |value: Value| parse_launched(&json!({ "data": value })).map(|id| id.0);
        assert_eq!(id(json!({"instance_ids": ["i-1"]})).as_deref(), Some("i-1"));
        for nothing in
            [json!({"instance_ids": []}), json!({"instance_ids": [""]}), json!([]), json!(1), Value::Null]
        {
            assert_eq!(id(nothing), None);
        }
    }
}
