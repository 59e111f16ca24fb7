/** The generated protobuf code, under one short name. Objects have the proto's own snake_case names. */
export { klpstate } from "../../generated/klpstate.js";
