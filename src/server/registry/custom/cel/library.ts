// The functions that Kubernetes adds to CEL: lists, strings, regular expressions, URLs, quantities, addresses, sets.
import type { Environment } from '@marcbachmann/cel-js';
import { isIP } from 'node:net';
import { canonicalQuantity, compareQuantities, quantityValue } from '../../../../api/quantity.ts';
import { dns1035Label, dnsLabel, dnsSubdomain, labelValue, qualifiedName } from '../../../../api/names.ts';
import { firstBadBase64 } from '../../../../api/schema-decode.ts';
import type { PatternEngine } from '../patterns.ts';
