/** The one door to kafkajs: mended, and with every codec. Whoever imports the package itself has neither. */
import "./mends.js";
import kafkajs from "kafkajs";
import { CODECS } from "./codecs.js";

Object.assign(kafkajs.CompressionCodecs, CODECS);

export default kafkajs;
