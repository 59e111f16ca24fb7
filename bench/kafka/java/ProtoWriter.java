import java.util.Arrays;

/** Writes one protobuf message; defaults are left out. Lengths are below 128. */
final class ProtoWriter {
    private final byte[] out;
    private int at;

    ProtoWriter(int bytesMax) {
        out = new byte[bytesMax];
    }

    static int sizeOf(byte[] value) {
        return value.length == 0 ? 0 : 2 + value.length;
    }

    void varint(int field, long value) {
        if (value == 0) return;
        out[at++] = (byte) (field << 3);
        for (; (value & ~127L) != 0; value >>>= 7) out[at++] = (byte) (value | 128);
        out[at++] = (byte) value;
    }

    void fixed64(int field, long value) {
        out[at++] = (byte) (field << 3 | 1);
        for (int i = 0; i < 8; i++, value >>>= 8) out[at++] = (byte) value;
    }

    void bytes(int field, byte[] value) {
        if (value.length == 0) return;
        length(field, value.length);
        System.arraycopy(value, 0, out, at, value.length);
        at += value.length;
    }

    /** The head of a message whose fields are written next. */
    void length(int field, int length) {
        if (length > 127) throw new IllegalArgumentException("a field of " + length + " bytes");
        out[at++] = (byte) (field << 3 | 2);
        out[at++] = (byte) length;
    }

    byte[] written() {
        return Arrays.copyOf(out, at);
    }
}
