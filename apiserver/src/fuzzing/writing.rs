//! Patches of all kinds, onto an object that is there.

use bytes::Bytes;

use super::{
    ground::{Ground, request, stored},
    line,
};
use crate::{
    corridor::{Body, Verb},
    doors::rest::body,
    outside::Aside,
    registry::{apply, decode::Validation, patch as patches, plan::Context, update},
};

/// A patch of an object.
pub fn patch(input: &[u8]) {
    let (media_type, rest) = line(input);
    let (object, changes) = line(rest);
    let media_type = String::from_utf8_lossy(media_type);
    let Ok(body) = body::patch(&media_type, Bytes::copy_from_slice(changes)) else { return };
    let handler = Ground::get().handler(object);
    let Ok((before, _)) = handler.decode(object, Validation::Ignore) else { return };
    let Ok(present) = handler.encode(&*before) else { return };
    for subresource in ["", "status"] {
        let mut request = request(handler, Verb::Patch, &present, body.clone());
        request.subresource = subresource.into();
        request.options.force = apply::is_apply(&request);
        let aside = Aside::default();
        let context = Ground::get().context(handler, &request, &aside);
        let _ = change(&context, &present, &body);
    }
}

fn change(context: &Context, present: &Bytes, body: &Body) -> Result<(), kubelab_api::Error> {
    apply::check_options(context.request)?;
    let before = context.handler.decode(present, Validation::Ignore)?.0;
    let stored = stored(context, before, present.clone());
    if matches!(body, Body::Patch { media_type, .. } if media_type == patches::APPLY) {
        let (config, warnings) = apply::configuration(context)?;
        apply::onto(context, &stored, &config, warnings)?;
        apply::plan(context)?;
    } else {
        let (json, warnings) = patches::patched(context, present)?;
        let decoded = context.handler.decode(&json, context.validation()?);
        let (object, _) = decoded.map_err(|error| patches::unfit(&json, error))?;
        update::replace(context, &stored, object, warnings)?;
    }
    Ok(())
}
