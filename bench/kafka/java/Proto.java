import java.util.Arrays;

/** Reads one protobuf message in place. */
final class Proto {
    private final byte[] in;
    private int at;
    private final int end;
    /** Of the field that `next` found. */
    int field;
    private int type;

    Proto(byte[] in, int from, int to) {
        this.in = in;
        at = from;
        end = to;
    }

    boolean next() {
        if (at == end) return false;
        int tag = (int) varint();
        field = tag >>> 3;
        type = tag & 7;
        return true;
    }

    long varint() {
        long value = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            byte next = in[at++];
            value |= (long) (next & 127) << shift;
            if (next >= 0) return value;
        }
        throw new IllegalArgumentException("a varint of more than ten bytes");
    }

    long fixed64() {
        long value = 0;
        for (int i = 7; i >= 0; i--) value = value << 8 | in[at + i] & 255;
        at += 8;
        return value;
    }

    byte[] bytes() {
        int to = past();
        byte[] value = Arrays.copyOfRange(in, at, to);
        at = to;
        return value;
    }

    Proto message() {
        int to = past();
        Proto message = new Proto(in, at, to);
        at = to;
        return message;
    }

    void skip() {
        switch (type) {
            case 0 -> varint();
            case 1 -> at += 8;
            case 2 -> at = past();
            case 5 -> at += 4;
            default -> throw new IllegalArgumentException("wire type " + type);
        }
    }

    /** Where the field ends whose length comes next. */
    private int past() {
        int length = (int) varint();
        if (length < 0 || length > end - at) throw new IllegalArgumentException("a field that ends behind its message");
        return at + length;
    }
}
