/*
 * Node-API 10 allows references to strings and other primitive values, and better-sqlite3 keeps its property names so;
 * Node 20.11 has Node-API 9 and takes objects, functions and symbols only. Here a primitive is put into an object and
 * that is referenced. The lowest bit of such a reference is set: references are pointers, so it is free.
 *
 * Linked with -Wl,--wrap for each of the three functions: __real_ is Node's, __wrap_ is what the addon calls. The addon
 * calls no other function on references (the build checks that).
 */
#include <node_api.h>
#include <stdint.h>

napi_status __real_napi_create_reference(napi_env, napi_value, uint32_t, napi_ref*);
napi_status __real_napi_get_reference_value(napi_env, napi_ref, napi_value*);
napi_status __real_napi_delete_reference(napi_env, napi_ref);

static int is_boxed(napi_ref reference) {
  return ((uintptr_t)reference & 1) != 0;
}

static napi_ref pointer_of(napi_ref reference) {
  return (napi_ref)((uintptr_t)reference & ~(uintptr_t)1);
}

napi_status __wrap_napi_create_reference(napi_env env, napi_value value, uint32_t count, napi_ref* result) {
  napi_valuetype type;
  napi_status status = napi_typeof(env, value, &type);
  if (status != napi_ok) return status;
  if (type == napi_object || type == napi_function || type == napi_symbol || type == napi_external) {
    return __real_napi_create_reference(env, value, count, result);
  }
  napi_value box;
  if ((status = napi_create_object(env, &box)) != napi_ok) return status;
  if ((status = napi_set_element(env, box, 0, value)) != napi_ok) return status;
  if ((status = __real_napi_create_reference(env, box, count, result)) != napi_ok) return status;
  *result = (napi_ref)((uintptr_t)*result | 1);
  return napi_ok;
}

napi_status __wrap_napi_get_reference_value(napi_env env, napi_ref reference, napi_value* result) {
  napi_status status = __real_napi_get_reference_value(env, pointer_of(reference), result);
  if (status != napi_ok || !is_boxed(reference) || *result == 0) return status;
  return napi_get_element(env, *result, 0, result);
}

napi_status __wrap_napi_delete_reference(napi_env env, napi_ref reference) {
  return __real_napi_delete_reference(env, pointer_of(reference));
}
